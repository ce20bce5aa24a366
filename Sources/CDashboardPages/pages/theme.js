// Not a module: it runs before the first paint, so that a remembered theme doesn't flash.
(() => {
  const themes = ["auto", "light", "dark"];
  let theme = "auto";
  try {
    const remembered = localStorage.getItem("flotilla-theme");
    if (themes.includes(remembered)) theme = remembered;
  } catch {
    // Storage may be denied; the theme is then not remembered.
  }
  const show = () => {
    document.documentElement.dataset.theme = theme;
    const button = document.getElementById("theme");
    if (button) button.textContent = `Theme: ${theme}`;
  };
  show();
  document.addEventListener("DOMContentLoaded", () => {
    show();
    document.getElementById("theme").addEventListener("click", () => {
      theme = themes[(themes.indexOf(theme) + 1) % themes.length];
      try { localStorage.setItem("flotilla-theme", theme); } catch { /* see above */ }
      show();
      document.dispatchEvent(new Event("themechange"));
    });
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () =>
    document.dispatchEvent(new Event("themechange")));
})();
