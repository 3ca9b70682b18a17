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

// A job's events say when to look at once; without them, the page looks by the clock.
const LEAST_MS = 500;

export function keepLive(root) {
  for (const area of root.querySelectorAll("[data-live]")) {
    const everyMs = 1000 * Number(area.dataset.every);
    const hasEnded = () => area.querySelector("[data-ended]");
    let timer = null;
    let lookedAt = Date.now();
    const later = (ms) => {
      clearTimeout(timer);
      if (!hasEnded()) timer = setTimeout(look, ms);
    };
    const look = async () => {
      lookedAt = Date.now();
      if (!document.hidden) {
        try {
          morph(area, await part(area.dataset.live));
          area.removeAttribute("data-stale");
        } catch {
          area.setAttribute("data-stale", "");
        }
      }
      later(everyMs);
      if (hasEnded()) document.dispatchEvent(new Event("ended"));
    };
    later(everyMs);
    document.addEventListener("visibilitychange", () => document.hidden || hasEnded() || look());
    document.addEventListener("moved", () => later(Math.max(0, lookedAt + LEAST_MS - Date.now())));
  }
  for (const area of root.querySelectorAll("[data-events]")) listen(area);
}

// Browsers have few connections to a host, which all tabs share: only what is looked at listens.
function listen(area) {
  let events = null;
  const moved = () => document.dispatchEvent(new Event("moved"));
  const decide = () => {
    if (document.hidden || area.querySelector("[data-ended]")) {
      events?.close();
      events = null;
    } else if (!events) {
      events = new EventSource(area.dataset.events);
      events.addEventListener("progress", moved);
      events.addEventListener("ended", () => { events?.close(); moved(); });
    }
  };
  decide();
  document.addEventListener("visibilitychange", decide);
  document.addEventListener("ended", decide);
  addEventListener("pagehide", () => events?.close());
}
