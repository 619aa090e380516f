const body = at("table").tBodies[0];
const rows = () => [...body.rows].filter((row) => !row.hidden).map((row) => row.dataset.name);
const head = (text) => [...at("table").tHead.rows[0].cells].find((cell) => cell.textContent === text);
const sorted = (text) => head(text).getAttribute("aria-sort");
const press = (text) => {
  const button = head(text).firstElementChild;
  button.focus();
  told.focused = document.activeElement === button;
  button.click();
};
told.first = [rows(), sorted("accuracy")];
press("latency");
told.slow = [rows(), sorted("latency"), sorted("accuracy")];
press("latency");
told.fast = [rows(), sorted("latency")];
press("candidate");
told.named = [rows(), sorted("candidate")];

const find = (text) => {
  at("find").value = text;
  at("find").dispatchEvent(new Event("input"));
  return [rows(), at("found").textContent];
};
told.baselines = find("plain BASELINE");
told.failed = find("failed");
told.over = find("over limit");
told.all = find("  ");

const shown = () => [...document.querySelectorAll("[data-group=search]")].filter((cell) => !cell.hidden).length;
told.search = [shown()];
document.querySelector("#groups [value=search]").click();
told.search.push(shown());

const blobs = [];
URL.createObjectURL = (blob) => { blobs.push(blob); return "blob:none"; };
HTMLAnchorElement.prototype.click = function () { told.link = this.download; };
find("cct");
at("csv").click();
told.csv = await blobs[0].text();
