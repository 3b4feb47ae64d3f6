/** The editor of expressions: colours, completion, and marks below errors. */

import { completionAt, type Completion } from "./completion.js";
import { fill, h } from "./dom.js";
import { offsetOf, tokens } from "./lexer.js";

/** An error in the expression. */
export interface Mark {
  /** The column, counted from 1 in characters over all lines. */
  readonly column: number;
  readonly message: string;
}

/** The parts of the page that the editor needs. */
export interface EditorHooks {
  /** Returns the known attributes, with their part in the table. */
  readonly attributes: () => ReadonlyMap<string, string>;
  /** The text has changed. */
  readonly onChange: () => void;
}

const CHARACTER_WIDTH = 9.2; // Pixels, in the font of the style sheet, at most.

/** A text area over a copy of its text in colours. The copy also gives the place of the cursor. */
export class Editor {
  readonly element: HTMLElement;
  readonly #hooks: EditorHooks;
  readonly #input: HTMLTextAreaElement;
  readonly #copy: HTMLElement;
  readonly #list: HTMLElement;
  readonly #errors: HTMLElement;
  #marks: readonly Mark[] = [];
  #completion: Completion | null = null;
  #active = 0;

  constructor(hooks: EditorHooks) {
    this.#hooks = hooks;
    this.#copy = h("pre", { class: "editor-copy", "aria-hidden": "true" });
    this.#list = h("ul", { id: "completions", class: "completions", role: "listbox", "aria-label": "Completions", hidden: true });
    this.#errors = h("div", { id: "expression-errors", class: "expression-errors", role: "alert" });
    this.#input = h("textarea", {
      id: "expression",
      class: "editor-input",
      rows: 2,
      spellcheck: "false",
      autocapitalize: "off",
      autocomplete: "off",
      role: "combobox",
      "aria-autocomplete": "list",
      "aria-haspopup": "listbox",
      "aria-controls": "completions",
      "aria-expanded": "false",
      "aria-describedby": "expression-hint expression-errors",
      oninput: () => this.#changed(),
      onkeydown: (event: KeyboardEvent) => this.#key(event),
      onblur: () => this.#close(),
      onclick: () => this.#close(),
      onscroll: () => { this.#copy.scrollTop = this.#input.scrollTop; },
    });
    this.element = h("div", { class: "editor" },
      h("div", { class: "editor-box" }, this.#copy, this.#input, this.#list),
      this.#errors);
    this.#draw();
  }

  /** The expression. */
  get text(): string {
    return this.#input.value;
  }

  set text(text: string) {
    this.#input.value = text;
    this.#changed();
    this.#close();
  }

  focus(): void {
    this.#input.focus();
  }

  /** Inserts a name at the cursor, with a space before it where one is needed. */
  insert(name: string): void {
    const { selectionStart: start, selectionEnd: end, value } = this.#input;
    const space = start > 0 && !/[\s(]$/.test(value.slice(0, start)) ? " " : "";
    this.#input.focus();
    this.#replace(start, end, `${space}${name} `);
    this.#close();
  }

  /** Shows errors below their columns; none clears them. */
  mark(marks: readonly Mark[]): void {
    this.#marks = marks;
    if (marks.length > 0) this.#input.setAttribute("aria-invalid", "true");
    else this.#input.removeAttribute("aria-invalid");
    fill(this.#errors, ...marks.map((mark) => this.#diagnostic(mark)));
    this.#draw();
  }

  /** Moves the cursor to an error. */
  goTo(column: number): void {
    const at = offsetOf(this.text, column);
    this.#input.focus();
    this.#input.setSelectionRange(at, at);
  }

  #diagnostic({ column, message }: Mark): HTMLElement {
    const text = this.text;
    const at = offsetOf(text, column);
    const begin = text.lastIndexOf("\n", at - 1) + 1;
    const end = text.indexOf("\n", at);
    const room = Math.max(20, Math.floor(this.#input.clientWidth / CHARACTER_WIDTH) - 4);
    const from = Math.max(begin, at - Math.floor(room * 0.7));
    const before = `${from > begin ? "…" : ""}${text.slice(from, at)}`;
    const after = text.slice(at, end < 0 ? undefined : end).slice(0, room - before.length);
    return h("div", { class: "diagnostic" },
      h("pre", { "aria-hidden": "true" },
        `${before}${after}\n`,
        h("span", { class: "pad" }, before.replace(/[^\t]/g, " ")),
        h("span", { class: "caret" }, "^")),
      h("p", {},
        h("button", { type: "button", class: "link", onclick: () => this.goTo(column) }, `Column ${column}`),
        `: ${message}`));
  }

  #changed(): void {
    if (this.#marks.length > 0) this.mark([]);
    this.#draw();
    this.#hooks.onChange();
    this.#suggest(false);
  }

  #draw(): void {
    const starts = new Set(this.#marks.map(({ column }) => offsetOf(this.text, column)));
    const pieces: Node[] = [];
    for (const { kind, text, start } of tokens(this.text)) {
      const isWrong = [...starts].some((at) => start <= at && at < start + text.length);
      pieces.push(h("span", { class: isWrong ? `${kind} wrong` : kind }, text));
    }
    // A mark at the end has no token; the last line break needs a character to have a height.
    const isAtEnd = starts.has(this.text.length);
    fill(this.#copy, ...pieces, isAtEnd ? h("span", { class: "wrong" }, " ") : null, "\u200b");
  }

  #key(event: KeyboardEvent): void {
    if (event.key === " " && event.ctrlKey) {
      event.preventDefault();
      this.#suggest(true);
      return;
    }
    if (this.#completion === null || event.ctrlKey || event.metaKey) return;
    const count = this.#completion.candidates.length;
    const moves: Record<string, () => void> = {
      ArrowDown: () => this.#activate((this.#active + 1) % count),
      ArrowUp: () => this.#activate((this.#active + count - 1) % count),
      Enter: () => this.#accept(this.#active),
      Tab: () => this.#accept(this.#active),
      Escape: () => this.#close(),
    };
    const move = event.shiftKey ? undefined : moves[event.key];
    if (move === undefined) {
      if (event.key.startsWith("Arrow") || event.key === "Home" || event.key === "End") this.#close();
      return;
    }
    event.preventDefault();
    move();
  }

  #suggest(isExplicit: boolean): void {
    const { selectionStart, value } = this.#input;
    this.#completion = completionAt(value, selectionStart, this.#hooks.attributes(), isExplicit);
    if (this.#completion === null) {
      this.#close();
      return;
    }
    const options = this.#completion.candidates.map(({ label, detail }, number) =>
      h("li", {
        id: `completion-${number}`,
        role: "option",
        // Before the text area loses its focus.
        onmousedown: (event: MouseEvent) => { event.preventDefault(); this.#accept(number); },
      }, h("span", { class: "label" }, label), h("span", { class: "detail" }, detail)));
    fill(this.#list, ...options);
    this.#list.hidden = false;
    this.#input.setAttribute("aria-expanded", "true");
    this.#place(this.#completion.start);
    this.#activate(0);
  }

  #activate(number: number): void {
    this.#active = number;
    this.#input.setAttribute("aria-activedescendant", `completion-${number}`);
    for (const [at, option] of Array.from(this.#list.children).entries()) {
      option.setAttribute("aria-selected", String(at === number));
      if (at === number) option.scrollIntoView({ block: "nearest" });
    }
  }

  #accept(number: number): void {
    const completion = this.#completion;
    const candidate = completion?.candidates[number];
    if (completion === null || candidate === undefined) return;
    this.#replace(completion.start, completion.end, candidate.text);
    this.#close();
  }

  #replace(start: number, end: number, text: string): void {
    this.#input.setRangeText(text, start, end, "end");
    this.#changed();
  }

  #close(): void {
    this.#completion = null;
    this.#list.hidden = true;
    this.#input.setAttribute("aria-expanded", "false");
    this.#input.removeAttribute("aria-activedescendant");
  }

  /** Places the list below a character, which the copy has at the same place. */
  #place(offset: number): void {
    const range = document.createRange();
    let left = offset;
    for (const piece of this.#copy.childNodes) {
      const node = piece.firstChild ?? piece;
      const length = node.textContent?.length ?? 0;
      if (left <= length && node.nodeType === Node.TEXT_NODE) {
        range.setStart(node, left);
        range.setEnd(node, left);
        break;
      }
      left -= length;
    }
    const box = this.element.getBoundingClientRect();
    const at = range.getBoundingClientRect();
    const room = Math.max(0, box.width - this.#list.offsetWidth);
    this.#list.style.left = `${Math.min(Math.max(0, at.left - box.left), room)}px`;
    this.#list.style.top = `${at.bottom - box.top + 4}px`;
  }
}
