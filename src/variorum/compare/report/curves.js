// Loss and score of each candidate in its training.
const learning = () => {
  const box = at("curves"), hidden = new Set();
  const kinds = [["loss", "training loss"], ["score", `${data.metric} on validation rows`]]
    .filter(([kind]) => data.curves.some((c) => c.lines.some((line) => line[kind].length)));
  const look = (i) => ({ color: colours[i % colours.length], dash: dashes[Math.floor(i / colours.length) % dashes.length] });

  const show = () => {
    const kind = at("curve").value, over = Number(at("over").value);
    const scale = kind === "score" && data.percent ? 100 : 1;
    const unit = over ? "steps" : "s";
    const traces = data.curves.flatMap((c, i) => (hidden.has(c.name) ? [] : c.lines.filter((line) => line[kind].length).map((line) => ({
      type: "scatter", mode: line[kind].length === 1 ? "markers" : "lines", name: plain(c.name),
      x: line[kind].map((p) => p[over]), y: line[kind].map((p) => p[2] * scale),
      line: { ...look(i), width: line.seed === null ? 2 : 1.1 }, marker: { color: look(i).color },
      hovertemplate: `<b>${plain(c.name)}</b>${line.seed === null ? "" : `, seed ${plain(line.seed)}`}<br>%{x:.4~g} ${unit}: %{y:.4~g}<extra></extra>`,
    }))));
    const [, title] = kinds.find(([name]) => name === kind);
    draw(box, traces, layout(
      { title: { text: over ? "steps of training" : "seconds of training" }, type: at("curve-x-log").checked ? "log" : "linear", rangemode: "tozero" },
      { title: { text: plain(title) + (scale === 100 ? " in %" : "") }, type: at("curve-y-log").checked ? "log" : "linear" },
    ));
  };

  kinds.forEach(([kind, title]) => at("curve").add(new Option(title, kind)));
  const line = (i) => {
    const dash = { solid: "", dash: "5 3", dot: "2 2", dashdot: "5 2 1 2" }[look(i).dash];
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    svg.setAttribute("viewBox", "0 0 22 10");
    for (const [name, value] of [["d", "M0 5H22"], ["stroke", look(i).color], ["stroke-dasharray", dash]]) path.setAttribute(name, value);
    svg.append(path);
    return svg;
  };
  const picks = data.curves.map((c, i) => {
    const button = make("button", { type: "button", "aria-pressed": "true" }, line(i), c.name);
    button.addEventListener("click", () => { turn([c.name], hidden.has(c.name)); });
    return [c.name, button];
  });
  const turn = (names, on) => {
    for (const name of names) {
      hidden[on ? "delete" : "add"](name);
      picks.find(([of]) => of === name)[1].setAttribute("aria-pressed", String(on));
    }
    show();
  };
  at("lines").append(...picks.map(([, button]) => button));
  if (picks.length > 2) {
    for (const [text, on] of [["all", true], ["none", false]]) {
      const button = make("button", { type: "button" }, text);
      button.addEventListener("click", () => turn(picks.map(([name]) => name), on));
      at("lines").append(button);
    }
  }
  for (const id of ["curve", "over", "curve-x-log", "curve-y-log"]) at(id).addEventListener("change", show);
  drawings.push(show);
  show();
};
if (at("curves")) learning();
