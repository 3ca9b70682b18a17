// Trying a model without leaving the page: files that are dropped are sent at once.

import { showPictures } from "./parts.js";

export function tryModels(root) {
  for (const form of root.querySelectorAll("[data-on-change]")) {
    form.addEventListener("change", () => form.requestSubmit());
    form.querySelector("button")?.classList.add("hidden");
  }
  for (const form of root.querySelectorAll("[data-try]")) {
    const results = root.querySelector("[data-results]");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      send(form, results);
    });
    const drop = form.querySelector("[data-drop]");
    if (!drop) continue;
    const files = drop.querySelector("input");
    files.addEventListener("change", () => files.files.length && form.requestSubmit());
    for (const name of ["dragenter", "dragover"]) {
      drop.addEventListener(name, (event) => { event.preventDefault(); drop.dataset.over = ""; });
    }
    drop.addEventListener("dragleave", () => delete drop.dataset.over);
    drop.addEventListener("drop", (event) => {
      event.preventDefault();
      delete drop.dataset.over;
      if (event.dataTransfer.files.length) {
        files.files = event.dataTransfer.files;
        form.requestSubmit();
      }
    });
  }
}

async function send(form, results) {
  results.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(`${form.getAttribute("action")}?part=results`, { method: "POST", body: new FormData(form) });
    if (answer.redirected) location.reload();
    const type = answer.headers.get("Content-Type") ?? "";
    if (type.startsWith("text/html")) results.innerHTML = await answer.text();
    else if (type.startsWith("application/problem+json")) say(results, (await answer.json()).detail);
    else say(results, await answer.text());
    showPictures(results);
  } catch {
    say(results, "The gateway does not answer. Try again.");
  }
  results.removeAttribute("aria-busy");
}

function say(results, text) {
  const note = document.createElement("p");
  note.className = "note wrong";
  note.setAttribute("role", "alert");
  note.textContent = text;
  results.replaceChildren(note);
}
