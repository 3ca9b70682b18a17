// What pages do beyond their HTML: parts of them that stay live, times that move on, the map of shards.

import { keepLive } from "./live.js";
import { drawMaps } from "./map.js";
import { fillParts, showPictures } from "./parts.js";
import { moveTimes } from "./times.js";
import { tryModels } from "./try.js";

document.documentElement.classList.add("scripted");
keepLive(document);
moveTimes(document);
drawMaps(document);
fillParts(document);
// Once a job has ended, all of its outcomes are there.
document.addEventListener("ended", () => fillParts(document, { anew: true }), { once: true });
showPictures(document);
tryModels(document);
