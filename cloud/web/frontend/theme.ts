// Light, dark or as the system says. A cookie of this browser remembers the choice, so that the server's page has
// the right colours from its first moment on (cloud/web/responses.py).
const YEAR_S = 31_536_000;

export function startTheme(): void {
  const button = document.getElementById("theme");
  if (!button) return;
  button.hidden = false;
  button.addEventListener("click", () => {
    const root = document.documentElement;
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const next = (root.dataset["theme"] ?? (dark ? "dark" : "light")) === "dark" ? "light" : "dark";
    root.dataset["theme"] = next;
    const secure = location.protocol === "https:" ? "; secure" : "";
    document.cookie = `theme=${next}; path=/; max-age=${YEAR_S}; samesite=lax${secure}`;
    document.dispatchEvent(new CustomEvent("themechange"));
  });
}
