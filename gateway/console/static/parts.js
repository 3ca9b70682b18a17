// Parts that take the server longer to find than the page: asked for once the page is there.

import { part } from "./live.js";

export async function fillParts(root, { anew = false } = {}) {
  if (!anew && !root.querySelector("[data-loading]")) return;
  for (const area of root.querySelectorAll("[data-part]")) {
    try {
      area.innerHTML = await part(area.dataset.part);
      showPictures(area);
    } catch {
      const lead = area.querySelector("[data-loading]");
      if (lead) lead.textContent = "They cannot be read now. Load the page again.";
    }
  }
}

// Small pictures are enlarged, each of their pixels a square; missing ones leave a frame.
export function showPictures(root) {
  for (const image of root.querySelectorAll("main img, [data-part] img, img")) {
    const mark = () => image.classList.toggle("small", Math.max(image.naturalWidth, image.naturalHeight) <= 96);
    if (image.complete && image.naturalWidth) mark();
    else image.addEventListener("load", mark, { once: true });
    if (image.complete && !image.naturalWidth && image.src) image.classList.add("missing");
    image.addEventListener("error", () => image.classList.add("missing"), { once: true });
  }
}
