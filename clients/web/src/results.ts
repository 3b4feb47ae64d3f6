/** The results of a query: its state, rows, plan, cost, and the query as code. */

import type { Explanation, Item } from "dynamodb-processor-client";
import { Charts } from "./charts.js";
import { button, fill, h, oncePerFrame } from "./dom.js";
import { ExplainPanel } from "./explain.js";
import { csv, json } from "./exports.js";
import { copy, fileName, save } from "./files.js";
import { Grid } from "./grid.js";
import type { Run } from "./run.js";
import { snippet, SNIPPET_FORMS, type SnippetForm } from "./snippets.js";
import { StatusLine } from "./status_line.js";
import { Tabs } from "./tabs.js";
import { prettyJson, visible } from "./values.js";
import type { Draft } from "./draft.js";

const NOTHING_YET = "Run a query to see its items.";

/** What the results ask of the page around them. */
export interface ResultHooks {
  readonly onContinue: () => void;
  /** Returns the query in the form; throws Error if it has a mistake. */
  readonly draft: () => Draft;
  readonly gateway: string;
}

/** The lower part of the page. */
export class Results {
  readonly element: HTMLElement;
  readonly grid: Grid;
  readonly #hooks: ResultHooks;
  readonly #status = new StatusLine();
  readonly #notices = h("div", { class: "notices" });
  readonly #charts = new Charts();
  readonly #explain = new ExplainPanel();
  readonly #continue: HTMLButtonElement;
  readonly #token: HTMLElement;
  readonly #exports: HTMLButtonElement[];
  readonly #empty = h("p", { class: "empty" }, NOTHING_YET);
  readonly #code = h("pre", { class: "code", tabindex: 0, "aria-label": "The query as code" });
  readonly #tabs: Tabs;
  readonly #dialog: HTMLDialogElement;
  readonly #draw = oncePerFrame(() => this.#drawNow());
  #form: SnippetForm = "grpcurl";
  #run: Run | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(hooks: ResultHooks) {
    this.#hooks = hooks;
    this.grid = new Grid((row) => this.#open(row));
    this.#continue = button("Continue", () => hooks.onContinue(), { id: "continue", class: "primary", hidden: true });
    this.#token = copyButton("Copy token", () => this.#run?.token ?? "", { hidden: true, title: "The token that continues after the last item" });
    this.#exports = [
      button("Export CSV", () => this.#export("csv"), { disabled: true, id: "export-csv", class: "small" }),
      button("Export JSON", () => this.#export("json"), { disabled: true, id: "export-json", class: "small" }),
    ];
    const bar = h("div", { class: "bar" }, this.#status.element,
      h("div", { class: "actions" }, this.#continue, this.#token));
    const rows = h("div", {}, this.#empty, this.grid.element);
    this.#tabs = new Tabs("Results", [
      { id: "rows", label: "Items", panel: rows },
      { id: "explain", label: "Explain", panel: this.#explain.element },
      { id: "cost", label: "Cost", panel: this.#charts.element },
      { id: "code", label: "Code", panel: this.#codePanel() },
    ], this.#exports, (id) => this.#shown(id));
    this.#dialog = h("dialog", { class: "detail", "aria-labelledby": "detail-title" });
    this.element = h("section", { class: "results", "aria-label": "Results" }, bar, this.#notices, this.#tabs.element, this.#dialog);
    this.#empty.hidden = false;
    this.grid.element.hidden = true;
  }

  /** Shows a run; call `refresh` as it grows. */
  begin(run: Run, keys: readonly string[]): void {
    this.#run = run;
    this.grid.begin(run.rows, keys);
    this.#tabs.show("rows");
    this.refresh();
  }

  /** Shows the progress of the run, once in the next frame. */
  refresh(): void {
    this.#draw();
  }

  /** Shows a plan. */
  explain(plan: Explanation): void {
    this.#explain.show(plan);
    this.#tabs.show("explain");
  }

  /** Shows a notice; `null` for none. */
  notify(notice: HTMLElement | null): void {
    fill(this.#notices, notice);
  }

  /** Forgets everything, for another table. */
  clear(): void {
    this.#run = null;
    this.#status.clear();
    this.#explain.clear();
    this.#charts.show([]);
    this.grid.begin([], []);
    this.grid.element.hidden = true;
    this.#empty.hidden = false;
    this.#empty.textContent = NOTHING_YET;
    for (const one of [this.#continue, this.#token]) one.hidden = true;
    for (const one of this.#exports) one.disabled = true;
    this.formChanged();
  }

  /** Follows a change of the form: errors may be over, and the code is another. */
  formChanged(): void {
    this.notify(null);
    if (this.#code.offsetParent !== null) this.#drawCode();
  }

  #drawNow(): void {
    const run = this.#run;
    if (run === null) return;
    const isRunning = run.phase === "running";
    this.#status.show(run);
    this.#continue.hidden = !run.canContinue;
    this.#continue.textContent = run.phase === "failed" ? "Resume" : "Continue";
    this.#token.hidden = !run.canContinue;
    for (const one of this.#exports) one.disabled = run.rows.length === 0 || isRunning;
    this.#empty.hidden = run.rows.length > 0;
    this.#empty.textContent = emptyText(run);
    this.grid.element.hidden = run.rows.length === 0;
    this.grid.grow();
    this.#charts.show(run.pages);
    clearTimeout(this.#timer);
    if (isRunning) this.#timer = setTimeout(this.#draw, 200); // The time goes on between pages.
  }

  #shown(id: string): void {
    // The constructor shows the first tab before there is anything to draw.
    if (id === "rows") this.grid?.grow();
    if (id === "cost") this.#charts.show(this.#run?.pages ?? []);
    if (id === "code") this.#drawCode();
  }

  #codePanel(): HTMLElement {
    const choices = SNIPPET_FORMS.map((form) => {
      const input = h("input", { type: "radio", name: "form", value: form, id: `form-${form}`, checked: form === this.#form });
      input.addEventListener("change", () => { this.#form = form; this.#drawCode(); });
      return h("span", {}, input, h("label", { for: input.id }, form));
    });
    return h("div", { class: "code-panel" },
      h("fieldset", { class: "choices" }, h("legend", { class: "unseen" }, "Language"), ...choices),
      copyButton("Copy", () => this.#code.textContent ?? "", { id: "copy-code" }),
      this.#code,
      h("p", { class: "note" }, "The API key is not part of it: set ", h("code", {}, "DDBQ_API_KEY"), " where it runs. grpcurl runs in a clone, which has the contract in ", h("code", {}, "proto"), "."));
  }

  #drawCode(): void {
    try {
      const draft = this.#hooks.draft();
      this.#code.textContent = draft.table === "" ? "Choose a table first." : snippet(this.#form, draft, this.#hooks.gateway);
    } catch (error) {
      this.#code.textContent = (error as Error).message;
    }
  }

  #export(form: "csv" | "json"): void {
    const run = this.#run;
    if (run === null) return;
    const pieces = form === "csv" ? csv(run.rows, this.grid.columns) : json(run.rows);
    const type = form === "csv" ? "text/csv;charset=utf-8" : "application/json";
    save(`${fileName(run.draft.table)}.${form}`, type, pieces);
  }

  #open(row: number): void {
    const item: Item | undefined = this.#run?.rows[row];
    if (item === undefined) return;
    const text = prettyJson(item);
    fill(this.#dialog,
      h("h2", { id: "detail-title" }, `Item ${row + 1}`),
      h("pre", { class: "code", tabindex: 0, "aria-label": "The item as JSON" }, text.split("\n").map(visible).join("\n")),
      h("div", { class: "actions" },
        copyButton("Copy JSON", () => text),
        button("Close", () => this.#dialog.close(), { class: "primary" })));
    this.#dialog.showModal();
  }
}

function emptyText({ phase }: Run): string {
  if (phase === "running") return "Waiting for the first page …";
  return phase === "failed" ? "The query failed before its first page." : "No items.";
}

function copyButton(label: string, text: () => string, props: Record<string, string | boolean> = {}): HTMLButtonElement {
  const element = button(label, () => {
    void copy(text()).then((isCopied) => {
      element.textContent = isCopied ? "Copied" : "Not allowed here";
      setTimeout(() => { element.textContent = label; }, 1_500);
    });
  }, props);
  return element;
}
