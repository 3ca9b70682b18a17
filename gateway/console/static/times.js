// Relative times, as gateway/console/texts.py writes them.

const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

function words(at) {
  const passed = (Date.now() - at) / 1000;
  if (Math.abs(passed) < 1) return "now";
  const [size, unit] = UNITS.find(([size]) => Math.abs(passed) >= size);
  const text = `${Math.floor(Math.abs(passed) / size)} ${unit}`;
  return passed > 0 ? `${text} ago` : `in ${text}`;
}

export function moveTimes(root) {
  const move = () => {
    for (const span of root.querySelectorAll("time [data-relative]")) {
      const text = words(Date.parse(span.closest("time").dateTime));
      if (span.textContent !== text) span.textContent = text;
    }
  };
  move();
  setInterval(move, 5000);
}
