// The map of a job's shards: one canvas, a square a shard, however many there are.

const NAMES = { d: "done", x: "dead", r: "running", q: "queued", w: "waiting for room in the queue", n: "not run" };
// Of the shards that share a square, the most notable one gives it its colour.
const NOTABLE = "dnwqrx";
const DEAD = "x".charCodeAt(0);
const MOST_HEIGHT = 400;
const MOST_SIDE = 18;
// Outcomes are read without being asked for up to here.
const FEW = 4096;

function expand(runs, count) {
  const states = new Uint8Array(count);
  let at = 0;
  for (const [, letter, length] of runs.matchAll(/([a-z])(\d*)/g)) {
    const end = at + Number(length || 1);
    states.fill(letter.charCodeAt(0), at, end);
    at = end;
  }
  return states;
}

function rgb(name) {
  const hex = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

class ShardMap {
  constructor(area) {
    this.area = area;
    this.canvas = area.querySelector("canvas");
    this.pointed = area.querySelector("[data-pointed]");
    this.by = area.querySelector("select");
    this.count = Number(area.dataset.shards);
    this.outcomes = {};
    this.readTo = 0;
    area.hidden = false;
    this.canvas.addEventListener("pointermove", (event) => this.tell(this.shardAt(event)));
    this.canvas.addEventListener("click", (event) => this.open(this.shardAt(event)));
    this.by?.addEventListener("change", () => this.change());
    new ResizeObserver(() => this.draw()).observe(area);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    document.addEventListener("moved", () => this.soon(500));
    this.look();
  }

  soon(ms) {
    clearTimeout(this.timer);
    if (!this.ended) this.timer = setTimeout(() => this.look(), Math.max(0, (this.lookedAt ?? 0) + ms - Date.now()));
  }

  async look() {
    this.lookedAt = Date.now();
    if (!document.hidden) {
      try {
        const answer = await (await fetch(`${this.area.dataset.map}/map`)).json();
        this.states = expand(answer.states, this.count);
        this.ended = answer.ended;
        this.draw();
      } catch { /* The page's own parts say that they are stale. */ }
    }
    this.soon(2000);
  }

  layout() {
    const width = this.area.clientWidth;
    const shrink = Math.max(1, Math.ceil(this.count / (width * MOST_HEIGHT)));
    const squares = Math.ceil(this.count / shrink);
    let side = MOST_SIDE;
    while (side > 1 && Math.ceil(squares / Math.floor(width / side)) * side > MOST_HEIGHT) side -= 1;
    const columns = Math.max(1, Math.floor(width / side));
    return { width, shrink, squares, side, columns, rows: Math.ceil(squares / columns) };
  }

  draw() {
    if (!this.states || !this.area.clientWidth) return;
    const { width, shrink, squares, side, columns, rows } = (this.at = this.layout());
    const scale = Math.max(1, Math.round(devicePixelRatio));
    this.canvas.width = width * scale;
    this.canvas.height = rows * side * scale;
    this.canvas.style.height = `${rows * side}px`;
    const context = this.canvas.getContext("2d");
    const image = context.createImageData(this.canvas.width, this.canvas.height);
    const colour = this.colours();
    const step = side * scale;
    const gap = side > 3 ? Math.max(1, Math.round(step / 9)) : 0;
    const pixels = new Uint32Array(image.data.buffer);
    const fill = (square, value, more) => {
      const left = Math.max(0, (square % columns) * step - more);
      const top = Math.max(0, Math.floor(square / columns) * step - more);
      const right = Math.min(this.canvas.width, (square % columns) * step + step - gap + more);
      const bottom = Math.min(this.canvas.height, Math.floor(square / columns) * step + step - gap + more);
      for (let y = top; y < bottom; y += 1) pixels.fill(value, y * this.canvas.width + left, y * this.canvas.width + right);
    };
    const of = (square) => colour(square * shrink, Math.min(this.count, (square + 1) * shrink));
    for (let square = 0; square < squares; square += 1) fill(square, of(square), 0);
    // One dead shard among a hundred thousand is seen, too.
    if (side < 5) {
      for (let shard = this.states.indexOf(DEAD); shard >= 0; shard = this.states.indexOf(DEAD, shard + 1)) {
        fill(Math.floor(shard / shrink), of(Math.floor(shard / shrink)), 2 * scale);
      }
    }
    context.putImageData(image, 0, 0);
  }

  colours() {
    const packed = ([r, g, b]) => (255 << 24) | (b << 16) | (g << 8) | r;
    const by = this.by?.value ?? "state";
    if (by === "state") {
      const of = new Map([...NOTABLE].map((letter) => [letter.charCodeAt(0), packed(rgb(`--shard-${letter}`))]));
      const rank = new Map([...NOTABLE].map((letter, at) => [letter.charCodeAt(0), at]));
      return (first, end) => {
        let best = this.states[first];
        for (let shard = first + 1; shard < end; shard += 1) if (rank.get(this.states[shard]) > rank.get(best)) best = this.states[shard];
        return of.get(best);
      };
    }
    const values = this.outcomes[by] ?? [];
    const low = by === "attempts" ? 1 : 0;
    const high = Math.max(low + 1e-9, values.reduce((most, value) => Math.max(most, value ?? 0), 0));
    const [cold, hot, none] = [rgb("--heat-0"), rgb("--heat-1"), packed(rgb("--shard-w"))];
    return (first, end) => {
      let most = null;
      for (let shard = first; shard < end; shard += 1) if (values[shard] != null) most = Math.max(most ?? 0, values[shard]);
      if (most === null) return none;
      const share = Math.max(0, (most - low) / (high - low));
      return packed(cold.map((from, at) => Math.round(from + share * (hot[at] - from))));
    };
  }

  async change() {
    this.draw();
    const wanted = this.by.value;
    let shown = this.pointed.textContent;
    // What someone points at stays.
    const say = (text) => { if (this.pointed.textContent === shown) this.pointed.textContent = shown = text; };
    while (this.by.value === wanted && wanted !== "state" && this.readTo < this.count) {
      say(`Reading outcomes: ${this.readTo.toLocaleString("en")} of ${this.count.toLocaleString("en")} shards.`);
      const found = await (await fetch(`${this.area.dataset.map}/outcomes?first=${this.readTo}`)).json();
      for (const name of ["attempts", "failed", "seconds"]) (this.outcomes[name] ??= []).push(...found[name]);
      this.readTo += found.attempts.length;
      if (!found.attempts.length) break;
      if (this.readTo % FEW === 0 || this.readTo >= this.count || this.count <= FEW) this.draw();
    }
    this.draw();
    say("One square a shard, in order.");
  }

  shardAt(event) {
    if (!this.at) return null;
    const box = this.canvas.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left) / this.at.side);
    const row = Math.floor((event.clientY - box.top) / this.at.side);
    const shard = (row * this.at.columns + column) * this.at.shrink;
    return column < this.at.columns && shard < this.count ? shard : null;
  }

  tell(shard) {
    if (shard === null) return;
    const facts = [NAMES[String.fromCharCode(this.states[shard])]];
    const value = (name) => this.outcomes[name]?.[shard];
    if (value("attempts") > 1) facts.push(`${value("attempts")} attempts`);
    if (value("failed")) facts.push(`${value("failed")} failed items`);
    if (value("seconds") != null) facts.push(`${value("seconds")} s`);
    this.pointed.textContent = `Shard ${shard.toLocaleString("en")}: ${facts.join(", ")}`;
  }

  open(shard) {
    if (shard !== null && this.area.dataset.mayRead) location.href = `${this.area.dataset.map}/${shard}`;
  }
}

export function drawMaps(root) {
  for (const area of root.querySelectorAll("[data-map]")) new ShardMap(area);
}
