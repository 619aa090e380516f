// The table: sorted by a column, found by a word, by groups of columns, as a file.
const table = at("table");
const heads = [...table.tHead.rows[0].cells];
const rows = [...table.tBodies[0].rows];
const sortBy = (column) => {
  const head = heads[column], before = head.getAttribute("aria-sort"), figures = head.classList.contains("n");
  // Figures begin with the largest, words with the first of the alphabet.
  const up = before === null ? !figures : before === "descending";
  heads.forEach((other) => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  const value = (row) => row.cells[column].dataset.value;
  const compare = (a, b) => (figures ? Number(a) - Number(b) : a.localeCompare(b));
  // What was not measured stays last, whichever way the rest is turned.
  rows.sort((a, b) => (value(a) === "") - (value(b) === "") || (up ? 1 : -1) * compare(value(a), value(b)));
  table.tBodies[0].append(...rows);
};
heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => sortBy(column)));

const find = () => {
  const wanted = at("find").value.toLowerCase().split(/\s+/).filter(Boolean);
  rows.forEach((row) => { row.hidden = !wanted.every((word) => row.dataset.find.includes(word)); });
  const left = rows.filter((row) => !row.hidden).length;
  at("found").textContent = wanted.length ? `${left} of ${rows.length}` : `${rows.length} candidates`;
};
at("find").addEventListener("input", find);
find();

const cellsOf = (group) => table.querySelectorAll(`[data-group="${group}"]`);
const boxes = [...at("groups").querySelectorAll("input")];
const showGroup = (box) => cellsOf(box.value).forEach((cell) => { cell.hidden = !box.checked; });
for (const box of boxes) {
  // A narrow page begins with what decides; the rest is one touch away.
  box.checked = narrow.matches ? box.value === "score" || box.value === "speed" : box.value !== "search" && box.value !== "training";
  box.addEventListener("change", () => showGroup(box));
  showGroup(box);
}

const csv = () => {
  const quoted = (value) => (/[",\n\r]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  const lines = rows.filter((row) => !row.hidden).map((row) => data.table.rows[row.dataset.name]);
  return [data.table.columns, ...lines].map((line) => `${line.map(quoted).join(",")}\n`).join("");
};
at("csv").addEventListener("click", () => {
  const address = URL.createObjectURL(new Blob([csv()], { type: "text/csv;charset=utf-8" }));
  const link = make("a", { href: address, download: `${data.title.replace(/[^\p{L}\p{N}_-]+/gu, "-")}-candidates.csv` });
  link.click();
  // The download reads from the address for a moment.
  setTimeout(() => URL.revokeObjectURL(address), 10000);
});
at("table-controls").hidden = false;
