// Light or dark: as the system has it, or as the book whose chapter shows the page in a frame.

const THEMES = ["light", "dark", "auto"];

// Call redraw() where the colors change. The book sends { theme } into its frames; the style sheet
// knows the theme by an attribute of the root.
export function followTheme(redraw) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  if (window.parent === window) return;
  const root = document.documentElement;
  root.dataset.framed = "";
  window.addEventListener("message", ({ source, data }) => {
    if (source !== window.parent || !THEMES.includes(data?.theme)) return;
    if (root.dataset.theme === data.theme) return;
    root.dataset.theme = data.theme;
    redraw();
  });
}
