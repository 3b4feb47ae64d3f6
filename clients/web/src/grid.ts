/** A table of any number of rows, of which only the visible ones are in the document. */

import type { Item } from "dynamodb-processor-client";
import { fill, h, oncePerFrame } from "./dom.js";
import { own } from "./exports.js";
import { cellKind, cellText, visible } from "./values.js";

const ROW_HEIGHT = 30; // Pixels, as in the style sheet.
const SPARE_ROWS = 8;
const LEAST_HEIGHT = 600; // Pixels: the frame has none before its first rows.
const MAX_COLUMNS = 60;
const MIN_WIDTH = 7; // Characters.
const MAX_WIDTH = 36;

/** What the first values of an attribute say about its column. */
interface Column {
  readonly width: number;
  readonly isNumber: boolean;
}

/** Rows by their position, with a column for each attribute. */
export class Grid {
  readonly element: HTMLElement;
  readonly #table: HTMLTableElement;
  readonly #head: HTMLElement;
  readonly #body: HTMLElement;
  readonly #columnsNote: HTMLElement;
  readonly #onOpen: (row: number) => void;
  readonly #draw = oncePerFrame(() => this.#drawNow());
  #rows: readonly Item[] = [];
  #keys: readonly string[] = [];
  #known = new Map<string, Column>();
  #measured = 0;
  #active = -1;
  #shownColumns = "";

  constructor(onOpen: (row: number) => void) {
    this.#onOpen = onOpen;
    this.#head = h("thead");
    this.#body = h("tbody", { onclick: (event: MouseEvent) => this.#click(event) });
    this.#table = h("table", {
      role: "grid",
      id: "rows",
      tabindex: 0,
      "aria-label": "Items",
      onkeydown: (event: KeyboardEvent) => this.#key(event),
    }, this.#head, this.#body);
    this.#columnsNote = h("p", { class: "note", hidden: true });
    const frame = h("div", { class: "grid", onscroll: this.#draw }, this.#table);
    this.element = h("div", {}, frame, this.#columnsNote);
    new ResizeObserver(this.#draw).observe(frame);
  }

  /** The attributes of all rows, keys first. */
  get columns(): string[] {
    const others = [...this.#known.keys()].filter((name) => !this.#keys.includes(name)).sort();
    return [...this.#keys.filter((name) => this.#known.has(name)), ...others];
  }

  /** Shows rows, which may grow later; `keys` are the attributes that come first. */
  begin(rows: readonly Item[], keys: readonly string[]): void {
    this.#rows = rows;
    this.#keys = keys;
    this.#known = new Map();
    this.#measured = 0;
    this.#active = -1;
    this.#shownColumns = "";
    this.#frame.scrollTop = 0;
    this.#frame.scrollLeft = 0;
    this.grow();
  }

  /** Notes new rows. */
  grow(): void {
    for (; this.#measured < this.#rows.length; this.#measured += 1) this.#measure(this.#rows[this.#measured] ?? {});
    this.#draw();
  }

  get #frame(): HTMLElement {
    return this.#table.parentElement as HTMLElement;
  }

  #measure(item: Item): void {
    for (const [name, value] of Object.entries(item)) {
      const known = this.#known.get(name);
      // The first rows decide, so that columns do not move for long.
      if (known !== undefined && (known.width === MAX_WIDTH || this.#measured >= 200)) continue;
      const length = Math.max(known?.width ?? name.length + 1, cellText(value).length, MIN_WIDTH);
      const isNumber = known?.isNumber ?? cellKind(value) === "number";
      this.#known.set(name, { width: Math.min(length, MAX_WIDTH), isNumber });
    }
  }

  #drawNow(): void {
    const frame = this.#frame;
    if (frame.offsetParent === null) return; // The tab is hidden.
    const height = Math.max(frame.clientHeight, LEAST_HEIGHT);
    const columns = this.columns.slice(0, MAX_COLUMNS);
    this.#drawHead(columns);
    const first = Math.max(0, Math.floor(frame.scrollTop / ROW_HEIGHT) - SPARE_ROWS);
    const last = Math.min(this.#rows.length, first + Math.ceil(height / ROW_HEIGHT) + 2 * SPARE_ROWS);
    const rows: Node[] = [spacer(first)];
    for (let at = first; at < last; at += 1) rows.push(this.#row(at, columns));
    rows.push(spacer(this.#rows.length - last));
    fill(this.#body, ...rows);
    this.#table.setAttribute("aria-rowcount", String(this.#rows.length + 1));
    const isDrawn = first <= this.#active && this.#active < last;
    if (isDrawn) this.#table.setAttribute("aria-activedescendant", `row-${this.#active}`);
    else this.#table.removeAttribute("aria-activedescendant");
  }

  #drawHead(columns: readonly string[]): void {
    const widths = columns.map((name) => this.#known.get(name)?.width ?? MIN_WIDTH);
    const shown = JSON.stringify([columns, widths]);
    if (shown === this.#shownColumns) return;
    this.#shownColumns = shown;
    const cells = columns.map((name, at) => {
      const kinds = [this.#keys.includes(name) ? "key" : "", this.#known.get(name)?.isNumber ? "number" : ""];
      const cell = h("th", { scope: "col", class: kinds.join(" "), title: visible(name) }, visible(name).slice(0, MAX_WIDTH));
      cell.style.width = `calc(${widths[at]}ch + 1.5rem)`;
      return cell;
    });
    fill(this.#head, h("tr", { "aria-rowindex": 1 }, h("th", { scope: "col", class: "row-number number" }, "#"), ...cells));
    this.#table.style.width = `calc(${widths.reduce((sum, one) => sum + one, 0)}ch + ${1.5 * columns.length + 4}rem)`;
    const more = this.#known.size - columns.length;
    this.#columnsNote.hidden = more <= 0;
    this.#columnsNote.textContent = `${more} more attributes: open a row to see them all, or name some under “Attributes”.`;
  }

  #row(at: number, columns: readonly string[]): HTMLElement {
    const item = this.#rows[at] ?? {};
    const cells = columns.map((name) => {
      const value = own(item, name);
      if (value === undefined) return h("td", { class: "missing" });
      return h("td", { class: cellKind(value) }, cellText(value));
    });
    return h("tr", {
      id: `row-${at}`,
      "aria-rowindex": at + 2,
      "aria-selected": String(at === this.#active),
    }, h("td", { class: "row-number number" }, String(at + 1)), ...cells);
  }

  #click(event: MouseEvent): void {
    const row = (event.target as Element).closest("tr[id]");
    if (row === null) return;
    this.#active = Number(row.id.slice("row-".length));
    this.#draw();
    // Text that was selected with the mouse is for copying.
    if (String(getSelection()) === "") this.#onOpen(this.#active);
  }

  #key(event: KeyboardEvent): void {
    const page = Math.max(1, Math.floor(this.#frame.clientHeight / ROW_HEIGHT) - 2);
    const last = this.#rows.length - 1;
    const moves: Record<string, number> = {
      ArrowDown: this.#active + 1,
      ArrowUp: this.#active - 1,
      PageDown: this.#active + page,
      PageUp: this.#active - page,
      Home: 0,
      End: last,
    };
    if ((event.key === "Enter" || event.key === " ") && this.#active >= 0) {
      event.preventDefault();
      this.#onOpen(this.#active);
      return;
    }
    const next = moves[event.key];
    if (next === undefined || last < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.#active = Math.min(Math.max(next, 0), last);
    this.#reveal();
    this.#draw();
  }

  #reveal(): void {
    const frame = this.#frame;
    const top = this.#active * ROW_HEIGHT;
    const room = frame.clientHeight - 2 * ROW_HEIGHT; // Without the head.
    if (top < frame.scrollTop) frame.scrollTop = top;
    else if (top > frame.scrollTop + room) frame.scrollTop = top - room;
  }
}

function spacer(rows: number): HTMLElement {
  const cell = h("td");
  cell.style.height = `${rows * ROW_HEIGHT}px`;
  return h("tr", { class: "spacer", "aria-hidden": "true", hidden: rows === 0 }, cell);
}
