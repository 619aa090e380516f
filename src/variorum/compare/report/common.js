// What every part of the page uses.
const data = JSON.parse(document.getElementById("report-data").textContent);
const at = (id) => document.getElementById(id);
const narrow = matchMedia("(max-width: 40rem)");
const still = matchMedia("(prefers-reduced-motion: reduce)");
const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
// Plotly reads a few HTML tags in texts; names are data and must not be read so.
const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const known = (value) => value !== null && value !== undefined;
/** An element with text or other elements in it; texts are never read as HTML. */
const make = (tag, attributes, ...inside) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...inside);
  return made;
};
/** What has to be drawn again when colours change. */
const drawings = [];
const redraw = () => drawings.forEach((show) => show());
