// The answers of one model at a time.
const blocks = [...document.querySelectorAll(".gallery")];
const scatter = (box, found) => {
  const all = [...found.true, ...found.said], ends = [Math.min(...all), Math.max(...all)];
  draw(box, [
    { type: "scatter", mode: "lines", x: ends, y: ends, hoverinfo: "skip", line: { color: ink("--muted"), width: 1, dash: "dot" } },
    { type: "scatter", mode: "markers", x: found.true, y: found.said, marker: { size: 6, color: ink("--accent"), opacity: 0.6 },
      hovertemplate: "true <b>%{x:.5~g}</b><br>predicted <b>%{y:.5~g}</b><extra></extra>" },
  ], layout({ title: { text: "true" } }, { title: { text: "predicted" } }));
};
const showGallery = () => {
  for (const block of blocks) {
    block.hidden = block.dataset.name !== at("gallery").value;
    const box = block.querySelector(".scatter");
    if (box && !block.hidden) scatter(box, data.scatters[block.dataset.name]);
  }
};
if (blocks.length) {
  for (const block of blocks) {
    at("gallery").add(new Option(block.dataset.name, block.dataset.name));
    block.querySelector(".whose").hidden = true;
  }
  at("gallery").addEventListener("change", showGallery);
  at("gallery-controls").hidden = false;
  drawings.push(showGallery);
  showGallery();
}
