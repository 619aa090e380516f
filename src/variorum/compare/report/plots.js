// How all plots look.
// Okabe and Ito's colours, which the colour-blind can tell apart; yellow is left out: it vanishes on white.
const colours = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7f7f7f"];
const dashes = ["solid", "dash", "dot", "dashdot"];
const margins = () => (narrow.matches ? { l: 56, r: 14, t: 18, b: 50 } : { l: 76, r: 28, t: 26, b: 56 });
const axisShape = (axis) => ({
  gridcolor: ink("--line"), zeroline: false, linecolor: ink("--line"), ...axis,
  title: { ...axis.title, standoff: 10, font: { size: narrow.matches ? 12 : 13 } },
});
const layout = (x, y) => ({
  margin: margins(),
  paper_bgcolor: ink("--ground"), plot_bgcolor: ink("--ground"),
  font: { family: getComputedStyle(document.body).fontFamily, size: narrow.matches ? 12 : 13, color: ink("--ink") },
  hoverlabel: { bgcolor: ink("--panel"), bordercolor: ink("--line"), font: { color: ink("--ink") }, align: "left" },
  showlegend: false, hovermode: "closest", dragmode: narrow.matches ? false : "zoom",
  xaxis: axisShape(x), yaxis: axisShape(y),
});
const plotSettings = { responsive: true, displaylogo: false, modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]] };
const draw = (where, traces, shape) => Plotly.react(where, traces, shape, { ...plotSettings, displayModeBar: narrow.matches ? false : "hover" });
