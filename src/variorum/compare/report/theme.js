// Light or dark as the system says, or as the reader chooses.
const system = matchMedia("(prefers-color-scheme: dark)");
const themes = ["auto", "light", "dark"];
const themeKey = "variorum-theme";
const kept = (() => {
  // A page opened from a file may have no storage: the choice then lasts as long as the page.
  try { return localStorage.getItem(themeKey); } catch { return null; }
})();
let theme = themes.includes(kept) ? kept : "auto";
const showTheme = () => {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  at("theme").textContent = `Theme: ${theme}`;
};
at("theme").hidden = false;
at("theme").addEventListener("click", () => {
  theme = themes[(themes.indexOf(theme) + 1) % themes.length];
  try { localStorage.setItem(themeKey, theme); } catch { /* see above */ }
  showTheme();
  redraw();
});
showTheme();
system.addEventListener("change", redraw);
// Paper is light; plots have their colours in themselves.
addEventListener("beforeprint", () => { document.documentElement.dataset.theme = "light"; redraw(); });
addEventListener("afterprint", () => { showTheme(); redraw(); });
if (!still.matches) document.documentElement.style.scrollBehavior = "smooth";
