"use strict";
(() => {
  const data = JSON.parse(document.getElementById("report-data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  // Okabe and Ito's colours, which the colour-blind can tell apart; yellow is left out: it vanishes on white.
  const colours = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7f7f7f"];
  const dashes = ["solid", "dash", "dot", "dashdot"];
  const at = (id) => document.getElementById(id);
  // Plotly reads a few HTML tags in texts; names are data and must not be read so.
  const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const layout = (x, y) => ({
    margin: { l: 76, r: 28, t: 22, b: 66 },
    paper_bgcolor: ink("--ground"), plot_bgcolor: ink("--ground"),
    font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: ink("--ink") },
    hoverlabel: { bgcolor: ink("--panel"), bordercolor: ink("--line"), font: { color: ink("--ink") }, align: "left" },
    showlegend: false, hovermode: "closest",
    xaxis: { gridcolor: ink("--line"), zeroline: false, linecolor: ink("--line"), ...x },
    yaxis: { gridcolor: ink("--line"), zeroline: false, linecolor: ink("--line"), ...y },
  });
  const settings = { responsive: true, displaylogo: false, modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]] };
  const narrow = matchMedia("(max-width: 40rem)");
  const draw = (id, traces, shape) => Plotly.react(id, traces, shape, { ...settings, displayModeBar: !narrow.matches });

  const front = (points) => {
    const order = [...points].sort((a, b) => a.x - b.x || a.cost - b.cost);
    let least = Infinity;
    return order.filter((p) => p.cost < least && ((least = p.cost), true));
  };

  const pareto = () => {
    const axis = data.axes[at("axis").value];
    const log = at("log").checked;
    const known = data.points.filter((p) => p[axis.key] !== null && p[axis.key] !== undefined && (!log || p[axis.key] > 0));
    const scale = data.percent ? 100 : 1;
    const points = known.map((p) => ({ ...p, x: p[axis.key], y: p.quality * scale, cost: data.higher ? -p.quality : p.quality }));
    const line = front(points);
    const span = points.map((p) => log ? Math.log(p.x) : p.x);
    const middle = (Math.min(...span) + Math.max(...span)) / 2;
    // A name stands beside its mark, towards the middle of the plot, so that neither bars nor edges cut it.
    const side = (p) => (log ? Math.log(p.x) : p.x) > middle ? "middle left" : "middle right";
    const unit = data.percent ? " %" : "";
    const marks = (baseline) => {
      const own = points.filter((p) => p.baseline === baseline);
      const shade = baseline ? ink("--soft") : ink("--accent");
      return {
        type: "scatter", mode: "markers+text", x: own.map((p) => p.x), y: own.map((p) => p.y),
        text: own.map((p) => ` ${plain(p.name)} `), textposition: own.map(side), textfont: { size: 12 }, cliponaxis: false,
        customdata: own.map((p) => p.hover.map((pair) => `${plain(pair[0])}: <b>${plain(pair[1])}</b>`).join("<br>")),
        hovertemplate: "<b>%{text}</b><br>%{customdata}<extra></extra>",
        error_y: { type: "data", symmetric: false, array: own.map((p) => p.high === null ? 0 : p.high * scale - p.y), arrayminus: own.map((p) => p.low === null ? 0 : p.y - p.low * scale), color: shade, thickness: 1, width: 3 },
        marker: { size: 11, symbol: own.map((p) => (baseline ? "diamond" : "circle") + (p.equals_best ? "" : "-open")), color: shade, line: { width: 2, color: shade } },
      };
    };
    const trace = { type: "scatter", mode: "lines", x: line.map((p) => p.x), y: line.map((p) => p.y), line: { color: ink("--line"), width: 2, shape: "hv" }, hoverinfo: "skip" };
    draw("pareto", [trace, marks(false), marks(true)], layout(
      { title: { text: axis.title }, type: log ? "log" : "linear", rangemode: log ? "normal" : "tozero" },
      { title: { text: plain(data.metric) + (data.percent ? " in %" : "") }, ticksuffix: unit, autorange: data.higher ? true : "reversed" },
    ));
  };

  const curves = () => {
    const key = at("curve").value;
    const scale = key === "score" && data.percent ? 100 : 1;
    const traces = data.curves.filter((c) => c[key].length).map((c) => {
      const i = data.curves.indexOf(c);
      return {
        type: "scatter", mode: c[key].length === 1 ? "markers" : "lines", name: plain(c.name),
        x: c[key].map((p) => p[0]), y: c[key].map((p) => p[1] * scale),
        line: { color: colours[i % colours.length], dash: dashes[Math.floor(i / colours.length) % dashes.length], width: 2 },
        hovertemplate: `<b>${plain(c.name)}</b><br>%{x:.1f} s: %{y:.4g}<extra></extra>`,
      };
    });
    const title = key === "loss" ? "training loss" : plain(data.metric) + " on validation rows" + (scale === 100 ? " in %" : "");
    const shape = layout({ title: { text: "seconds of training" }, rangemode: "tozero" }, { title: { text: title } });
    draw("curves", traces, { ...shape, showlegend: true, legend: { orientation: "h", y: 1.02, yanchor: "bottom" }, margin: { ...shape.margin, t: 40 } });
  };

  const choose = (id, options, change) => {
    const select = at(id);
    for (const [value, text] of options) select.add(new Option(text, value));
    select.addEventListener("change", change);
  };
  const shown = [];
  if (at("pareto")) {
    choose("axis", data.axes.map((a, i) => [i, a.title]), pareto);
    at("log").addEventListener("change", pareto);
    shown.push(pareto);
  }
  if (at("curves")) {
    const kinds = [["loss", "training loss"], ["score", `${data.metric} on validation rows`]];
    choose("curve", kinds.filter(([key]) => data.curves.some((c) => c[key].length)), curves);
    shown.push(curves);
  }
  const redraw = () => shown.forEach((show) => show());
  redraw();
  dark.addEventListener("change", redraw);

  const table = at("table");
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
    const up = head.getAttribute("aria-sort") === "descending" || (head.getAttribute("aria-sort") === null && !head.classList.contains("n"));
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const value = (row) => row.cells[column].dataset.value;
    const compare = (a, b) => head.classList.contains("n") ? Number(a) - Number(b) : a.localeCompare(b);
    const rows = [...table.tBodies[0].rows];
    // What was not measured stays last, whichever way the rest is turned.
    rows.sort((a, b) => (value(a) === "") - (value(b) === "") || (up ? 1 : -1) * compare(value(a), value(b)));
    table.tBodies[0].append(...rows);
  }));

  for (const box of document.querySelectorAll(".copy")) {
    const button = box.querySelector("button");
    button.addEventListener("click", async () => {
      const code = box.querySelector("code");
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
      } catch {
        // A page opened from a file may have no clipboard: select the text, so that a key copies it.
        getSelection().selectAllChildren(code);
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
  }
  if (!still.matches) document.documentElement.style.scrollBehavior = "smooth";
})();
