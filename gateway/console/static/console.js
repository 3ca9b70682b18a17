// What pages do beyond their HTML: parts of them that stay live, and times that move on.

import { keepLive } from "./live.js";
import { moveTimes } from "./times.js";

keepLive(document);
moveTimes(document);
