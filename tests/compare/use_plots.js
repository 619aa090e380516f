const plot = at("pareto"), marks = () => plot.data[1], front = () => plot.data[0].x;
const key = (name) => plot.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true }));
const names = () => marks().customdata.map(([name]) => name);
const choose = (id, start) => pick(id, [...at(id).options].find((option) => option.text.startsWith(start)).value);
told.first = {
  names: names(), front: front(), symbols: marks().marker.symbol, colours: marks().marker.color,
  bars: marks().error_y.array.length, type: plot.layout.xaxis.type, note: at("pareto-note").textContent,
};
plot.focus();
told.focused = document.activeElement === plot;
key("ArrowRight");
told.right = at("pareto-says").textContent;
key("ArrowLeft");
told.left = at("pareto-says").textContent;
choose("x", "size");
told.sizes = { x: marks().x, front: front(), title: plot.layout.xaxis.title.text };
tick("x-log");
told.linear = plot.layout.xaxis.type;
choose("x", "predictions");
told.one = { names: names(), note: at("pareto-note").textContent };
choose("y", "size");
choose("x", "latency of");
told.turned = plot.layout.yaxis.range;
const list = [...at("pareto-list").querySelectorAll("tbody tr")];
told.listed = list.map((row) => [...row.cells].map((cell) => cell.textContent));

const ground = () => [at("theme").textContent, getComputedStyle(document.body).backgroundColor, plot.layout.paper_bgcolor];
told.themes = [ground()];
for (const _ of [1, 2, 3]) { at("theme").click(); told.themes.push(ground()); }

const curves = at("curves"), lines = () => curves.data.map((trace) => trace.name);
const button = at("lines").querySelector("button");
told.lines = lines();
button.click();
told.fewer = lines();
told.pressed = button.getAttribute("aria-pressed");
pick("over", "1");
pick("curve", "score");
tick("curve-y-log");
told.steps = [curves.data[0].x.at(-1), curves.layout.xaxis.title.text, curves.layout.yaxis.type];

const hidden = () => [...document.querySelectorAll(".gallery")].map((block) => block.hidden);
told.galleries = hidden();
pick("gallery", "vit");
told.other = hidden();
told.scatter = document.querySelector(".gallery[data-name=vit] .scatter").data[1].x;
told.outside = performance.getEntriesByType("resource").map((entry) => entry.name).filter((name) => !name.startsWith("data:"));
