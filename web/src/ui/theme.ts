/** Dark or light: as the system says, unless the reader chose. */

export type Theme = "system" | "light" | "dark";
const KEPT = "gnomon.theme";

export function theme(): Theme {
  const kept = localStorage.getItem(KEPT);
  return kept === "light" || kept === "dark" ? kept : "system";
}

export function applyTheme(next: Theme = theme()): void {
  if (next === "system") localStorage.removeItem(KEPT);
  else localStorage.setItem(KEPT, next);
  document.documentElement.dataset.theme = next;
}

/** The next one in turn. */
export function turnTheme(): Theme {
  const order: Theme[] = ["system", "light", "dark"];
  const next = order[(order.indexOf(theme()) + 1) % order.length] ?? "system";
  applyTheme(next);
  return next;
}
