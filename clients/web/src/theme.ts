/** The choice of light or dark. It lasts as long as the page. */

import { button, fill, h } from "./dom.js";

const THEMES = ["system", "light", "dark"] as const;

/** Returns the button that goes from one theme to the next. */
export function themeButton(): HTMLButtonElement {
  let at = 0;
  const show = () => {
    const theme = THEMES[at] ?? "system";
    if (theme === "system") delete document.documentElement.dataset["theme"];
    else document.documentElement.dataset["theme"] = theme;
    fill(element, h("span", { class: "wide" }, "Theme: "), theme);
    element.setAttribute("aria-label", `Theme: ${theme}`);
  };
  const element = button("", () => { at = (at + 1) % THEMES.length; show(); }, { class: "quiet", id: "theme" });
  show();
  return element;
}
