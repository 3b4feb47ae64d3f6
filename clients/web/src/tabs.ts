/** Tabs by the WAI-ARIA pattern: arrows move between them, and the panel follows. */

import { h } from "./dom.js";

/** One tab with its panel. */
export interface Tab {
  readonly id: string;
  readonly label: string;
  readonly panel: HTMLElement;
}

/** A list of tabs over their panels. */
export class Tabs {
  readonly element: HTMLElement;
  readonly #buttons = new Map<string, HTMLButtonElement>();
  readonly #panels = new Map<string, HTMLElement>();
  readonly #onShow: (id: string) => void;

  /** `extra` are controls beside the tabs. */
  constructor(label: string, tabs: readonly Tab[], extra: readonly HTMLElement[], onShow: (id: string) => void) {
    this.#onShow = onShow;
    const list = h("div", { role: "tablist", "aria-label": label, class: "tabs" });
    for (const { id, label: text, panel } of tabs) {
      const tab = h("button", {
        type: "button",
        role: "tab",
        id: `tab-${id}`,
        "aria-controls": `panel-${id}`,
        onclick: () => this.show(id),
        onkeydown: (event: KeyboardEvent) => this.#key(event, id),
      }, text);
      list.append(tab);
      this.#buttons.set(id, tab);
      this.#panels.set(id, h("div", { role: "tabpanel", id: `panel-${id}`, "aria-labelledby": `tab-${id}`, class: "panel" }, panel));
    }
    const head = h("div", { class: "tabs-head" }, list, h("div", { class: "actions" }, ...extra));
    this.element = h("div", { class: "tabbed" }, head, ...this.#panels.values());
    this.show(tabs[0]?.id ?? "");
  }

  /** Shows the panel of a tab. */
  show(id: string): void {
    for (const [name, tab] of this.#buttons) {
      tab.setAttribute("aria-selected", String(name === id));
      tab.tabIndex = name === id ? 0 : -1;
    }
    for (const [name, panel] of this.#panels) panel.hidden = name !== id;
    this.#onShow(id);
  }

  #key(event: KeyboardEvent, id: string): void {
    const ids = [...this.#buttons.keys()];
    const at = ids.indexOf(id);
    const moves: Record<string, number> = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: ids.length - 1 };
    const next = moves[event.key];
    if (next === undefined) return;
    event.preventDefault();
    const target = ids[(next + ids.length) % ids.length] ?? id;
    this.show(target);
    this.#buttons.get(target)?.focus();
  }
}
