// One figure over another, with the front of those that no other beats in both.
const pareto = () => {
  const box = at("pareto");
  const style = {
    best: { fill: "--accent", open: false }, equal: { fill: "--accent", open: false },
    worse: { fill: "--muted", open: false }, out: { fill: "--muted", open: true },
  };
  const said = {
    best: "the best", equal: "not distinguishable from the best", worse: "worse than the best", out: "over a limit, cannot win",
  };
  let points = [], focused = -1;

  const axisOf = (id) => ({ ...data.axes[at(id).value], log: at(`${id}-log`).checked });
  const usable = (value, axis) => known(value) && (!axis.log || value > 0);
  const figure = (p, axis) => p.hover.find(([name]) => name === axis.title)?.[1]
    ?? p.hover.find(([name]) => name === data.metric)[1];

  /** Points that no other within the limits beats in both, from left to right. */
  const front = (x, y) => {
    const cost = (value, axis) => (axis.more ? -value : value);
    const order = points.filter((p) => p.standing !== "out")
      .sort((a, b) => cost(a.x, x) - cost(b.x, x) || cost(a.y, y) - cost(b.y, y));
    let least = Infinity;
    return order.filter((p) => cost(p.y, y) < least && ((least = cost(p.y, y)), true)).sort((a, b) => a.x - b.x);
  };

  /** The ends of an axis, with room for marks, bars and names. */
  const ends = (values, axis) => {
    const scaled = axis.log ? values.map(Math.log10) : values;
    const low = Math.min(...scaled), high = Math.max(...scaled);
    const room = (high - low || Math.abs(high) * 0.2 || 1) * 0.09;
    return [low - room, high + room];
  };

  /** A side for each name on which it covers no mark and no other name, nor lines if that can be; "" where none is. */
  const sides = (size, xEnds, yEnds, x, y, onFront) => {
    const shape = margins(), width = size.width - shape.l - shape.r, height = size.height - shape.t - shape.b;
    const share = (value, axis, [low, high]) => ((axis.log ? Math.log10(value) : value) - low) / (high - low);
    const across = (value) => share(value, x, xEnds) * width;
    const down = (value) => (y.more ? 1 - share(value, y, yEnds) : share(value, y, yEnds)) * height;
    const box = (x1, y1, x2, y2, room) => [Math.min(x1, x2) - room, Math.min(y1, y2) - room, Math.max(x1, x2) + room, Math.max(y1, y2) + room];
    const taken = points.map((p) => box(across(p.x), down(p.y), across(p.x), down(p.y), 7));
    const lines = [];
    for (const p of points) {
      const [low, high] = [p.low, p.high].map((v) => (known(v) ? v * (x.key === "quality" ? x : y).scale : null));
      if (y.key === "quality" && usable(low, y)) lines.push(box(across(p.x), down(low), across(p.x), down(high), 1));
      if (x.key === "quality" && usable(low, x)) lines.push(box(across(low), down(p.y), across(high), down(p.y), 1));
    }
    onFront.slice(1).forEach((p, i) => {
      const before = onFront[i], corner = x.more ? [before.x, p.y] : [p.x, before.y];
      lines.push(box(across(before.x), down(before.y), across(corner[0]), down(corner[1]), 1), box(across(corner[0]), down(corner[1]), across(p.x), down(p.y), 1));
    });
    const free = ([l, t, r, b], from) => l >= 0 && r <= width && t >= -shape.t && b <= height
      && from.every(([tl, tt, tr, tb]) => r <= tl || l >= tr || b <= tt || t >= tb);
    const rank = { best: 0, equal: 1, worse: 2, out: 3 };
    const order = points.map((p, i) => i).sort((a, b) => points[b].front - points[a].front || rank[points[a].standing] - rank[points[b].standing]);
    const found = points.map(() => "");
    for (const i of order) {
      const cx = across(points[i].x), cy = down(points[i].y), wide = points[i].name.length * 6.6 + 6;
      const boxes = {
        "middle right": [cx + 8, cy - 8, cx + 8 + wide, cy + 8], "middle left": [cx - 8 - wide, cy - 8, cx - 8, cy + 8],
        "top right": [cx + 8, cy - 22, cx + 8 + wide, cy - 6], "top left": [cx - 8 - wide, cy - 22, cx - 8, cy - 6],
        "bottom right": [cx + 8, cy + 6, cx + 8 + wide, cy + 22], "bottom left": [cx - 8 - wide, cy + 6, cx - 8, cy + 22],
      };
      // In a crowd a name may lie over a line rather than be left out, but never over a mark or another name.
      const side = Object.keys(boxes).find((name) => free(boxes[name], [...taken, ...lines]))
        ?? Object.keys(boxes).find((name) => free(boxes[name], taken));
      if (side) { found[i] = side; taken.push(boxes[side]); }
    }
    return found;
  };

  /** Bars where the axis is the score. */
  const bars = (own, axis, of) => axis.key !== "quality" ? {} : { [of]: {
    type: "data", symmetric: false, thickness: 1, width: 3, color: ink("--soft"),
    array: own.map((p) => (known(p.high) ? (p.high - p.quality) * axis.scale : 0)),
    arrayminus: own.map((p) => (known(p.low) ? (p.quality - p.low) * axis.scale : 0)),
  } };

  const listed = (x, y) => {
    const table = at("pareto-list").querySelector("table");
    const heads = ["candidate", y.title, x.title, "on the front", "standing"].map((name) => make("th", { scope: "col" }, name));
    table.tHead.rows[0].replaceChildren(...heads);
    table.tBodies[0].replaceChildren(...points.map((p) => make("tr", {},
      make("th", { scope: "row" }, p.name), make("td", {}, figure(p, y)), make("td", {}, figure(p, x)),
      make("td", {}, p.front ? "yes" : ""), make("td", {}, p.over ? `${said[p.standing]}: ${p.over}` : said[p.standing]))));
  };

  const show = () => {
    const x = axisOf("x"), y = axisOf("y");
    points = data.points.filter((p) => usable(p[x.key], x) && usable(p[y.key], y))
      .map((p) => ({ ...p, x: p[x.key] * x.scale, y: p[y.key] * y.scale }));
    const onFront = front(x, y);
    points.forEach((p) => { p.front = onFront.includes(p); });
    // Those on the line to the left first: the arrow keys go from left to right.
    points.sort((a, b) => a.x - b.x || b.y - a.y);
    focused = -1;
    at("pareto-says").textContent = "";
    const reach = (axis, of) => points.flatMap((p) => (axis.key !== "quality" ? [p[of]]
      : [p[of], ...[p.low, p.high].filter((v) => usable(v, axis)).map((v) => v * axis.scale)]));
    const xEnds = ends(reach(x, "x"), x), yEnds = ends(reach(y, "y"), y);
    const names = sides(box.getBoundingClientRect(), xEnds, yEnds, x, y, onFront);
    const marks = {
      type: "scatter", mode: "markers+text", cliponaxis: false,
      x: points.map((p) => p.x), y: points.map((p) => p.y),
      text: points.map((p, i) => (names[i] ? ` ${plain(p.name)} ` : "")), textposition: names.map((side) => side || "top center"),
      textfont: { size: 12, color: ink("--ink") },
      customdata: points.map((p) => [`${plain(p.name)}${p.baseline ? " (plain baseline)" : ""}`,
        [...p.hover.map((pair) => `${plain(pair[0])}: <b>${plain(pair[1])}</b>`), said[p.standing]].join("<br>")]),
      hovertemplate: "<b>%{customdata[0]}</b><br>%{customdata[1]}<extra></extra>",
      ...bars(points, x, "error_x"), ...bars(points, y, "error_y"),
      marker: {
        size: 11, opacity: 1, symbol: points.map((p) => (p.baseline ? "diamond" : "circle") + (style[p.standing].open ? "-open" : "")),
        color: points.map((p) => ink(style[p.standing].fill)), line: { width: points.map((p) => (style[p.standing].open ? 2 : 0)) },
      },
    };
    const line = {
      type: "scatter", mode: "lines", x: onFront.map((p) => p.x), y: onFront.map((p) => p.y), hoverinfo: "skip",
      line: { color: ink("--accent"), width: 1.5, dash: "dot", shape: x.more ? "vh" : "hv" },
    };
    const shape = (axis, range) => ({
      title: { text: plain(axis.title) }, type: axis.log ? "log" : "linear", ticksuffix: axis.suffix,
      ...(axis.tick ? { tickformat: axis.tick } : {}), range,
      ...(axis.log ? { dtick: range[1] - range[0] > (narrow.matches ? 1.5 : 3.5) ? 1 : "D2" } : {}),
    });
    const turned = !y.more; // so that up is always better
    draw(box, [line, marks], layout(shape(x, xEnds), shape(y, turned ? [...yEnds].reverse() : yEnds)));
    const missing = data.points.length - points.length;
    const better = `Better is up${turned ? " (the axis is turned: less is better)" : ""} and to the ${x.more ? "right" : "left"}.`;
    const bar = [x, y].some((axis) => axis.key === "quality") && points.some((p) => known(p.low)) ? " Bars are 95 % intervals." : "";
    const without = missing ? ` Not drawn, without ${x.log || y.log ? "a figure above 0" : "a figure"} for both axes: ${data.points.filter((p) => !points.some((q) => q.name === p.name)).map((p) => p.name).join(", ")}.` : "";
    at("pareto-note").textContent = `${better}${bar}${without}`;
    listed(x, y);
  };

  const focus = (index) => {
    const x = axisOf("x"), y = axisOf("y");
    focused = (index + points.length) % points.length;
    const p = points[focused];
    Plotly.Fx.hover(box, [{ curveNumber: 1, pointNumber: focused }]);
    const figures = [y, x].map((axis) => `${axis.key === "quality" ? data.metric : axis.title} ${figure(p, axis)}`).join(", ");
    at("pareto-says").textContent = `${p.name}: ${figures}; ${said[p.standing]}${p.over ? ` (${p.over})` : ""}${p.front ? "; on the front" : ""}`;
  };
  box.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") { Plotly.Fx.unhover(box); focused = -1; at("pareto-says").textContent = ""; }
    if (!step || !points.length) return;
    event.preventDefault();
    focus(focused < 0 && step < 0 ? points.length - 1 : focused + step);
  });

  for (const [id, first] of [["y", 0], ["x", data.axes.length > 1 ? 1 : 0]]) {
    data.axes.forEach((axis, i) => at(id).add(new Option(axis.title, i, i === first, i === first)));
    at(id).addEventListener("change", () => {
      // Scores lie close together and costs far apart: each axis begins as suits it.
      at(`${id}-log`).checked = data.axes[at(id).value].key !== "quality";
      show();
    });
    at(`${id}-log`).addEventListener("change", show);
  }
  at("x-log").checked = data.axes.length > 1;
  let width = box.clientWidth;
  new ResizeObserver(() => {
    if (box.clientWidth !== width) { width = box.clientWidth; show(); }
  }).observe(box);
  drawings.push(show);
  show();
};
if (at("pareto")) pareto();
