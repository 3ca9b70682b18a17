// Parts of a page that stay live: `data-live` names the block, `data-every` the seconds between looks.

export async function part(name, address = location.href) {
  const url = new URL(address, location.href);
  url.searchParams.set("part", name);
  const answer = await fetch(url, { headers: { Accept: "text/html" } });
  // The session is over.
  if (answer.redirected) location.reload();
  if (!answer.ok) throw new Error(`${answer.status}`);
  return answer.text();
}

// Makes `old` what `html` says, and touches only what differs: whoever reads or has the focus stays there.
export function morph(old, html) {
  const fresh = document.createElement("template");
  fresh.innerHTML = html;
  replaceChildren(old, fresh.content);
}

function replaceChildren(old, fresh) {
  const known = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
  const wanted = [...fresh.childNodes].map((node) => {
    const before = node.id && known.get(node.id);
    if (!before) return node;
    update(before, node);
    return before;
  });
  wanted.forEach((node, at) => {
    const here = old.childNodes[at];
    if (here === node) return;
    if (here && !node.id && here.nodeName === node.nodeName && !here.id) update(here, node);
    else old.insertBefore(node, here ?? null);
  });
  while (old.childNodes.length > wanted.length) old.lastChild.remove();
}

function update(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (old.nodeType !== Node.ELEMENT_NODE) {
    old.nodeValue = fresh.nodeValue;
    return;
  }
  if (old.hasAttribute("data-keep")) return;
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  replaceChildren(old, fresh);
}

export function keepLive(root) {
  for (const area of root.querySelectorAll("[data-live]")) {
    const everyMs = 1000 * Number(area.dataset.every);
    const look = async () => {
      if (!document.hidden && area.isConnected && area.dataset.live) {
        try {
          morph(area, await part(area.dataset.live));
          area.removeAttribute("data-stale");
        } catch {
          area.setAttribute("data-stale", "");
        }
      }
      if (area.dataset.live && !area.querySelector("[data-ended]")) setTimeout(look, everyMs);
    };
    if (!area.querySelector("[data-ended]")) setTimeout(look, everyMs);
    document.addEventListener("visibilitychange", () => document.hidden || area.querySelector("[data-ended]") || look());
  }
}
