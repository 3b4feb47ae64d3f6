/** The page of a connected user: tables, the form of a query, and its results. */

import { QueryError, type QueryClient, type Table } from "dynamodb-processor-client";
import type { Config } from "./config.js";
import { button, h } from "./dom.js";
import { queryOf, type Draft } from "./draft.js";
import { errorNotice, marksOf } from "./errors.js";
import { QueryForm } from "./form.js";
import { Results } from "./results.js";
import { Run } from "./run.js";
import { TablesPanel } from "./tables.js";

/** Everything that belongs to one API key. */
export class Workspace {
  readonly element: HTMLElement;
  readonly #client: QueryClient;
  readonly #config: Config;
  readonly #onRefused: (message: string) => void;
  readonly #tables: TablesPanel;
  readonly #form: QueryForm;
  readonly #results: Results;
  readonly #runButton: HTMLButtonElement;
  readonly #stopButton: HTMLButtonElement;
  readonly #explainButton: HTMLButtonElement;
  readonly #title = h("h1", {}, "Choose a table");
  readonly #description = h("p", { class: "note" });
  #table = "";
  #schema: Table | null = null;
  #run: Run | null = null;

  constructor(client: QueryClient, config: Config, onRefused: (message: string) => void) {
    this.#client = client;
    this.#config = config;
    this.#onRefused = onRefused;
    this.#tables = new TablesPanel((name) => void this.#choose(name), (name) => this.#form.insert(name));
    this.#form = new QueryForm(() => this.#results?.formChanged());
    this.#results = new Results({
      onContinue: () => void this.#continue(),
      draft: () => this.#form.draft(this.#table),
      gateway: config.gateway,
    });
    this.#runButton = button("Run", () => void this.#start(), { id: "run", class: "primary", title: "Ctrl+Enter", disabled: true });
    this.#stopButton = button("Stop", () => this.#run?.stop(), { id: "stop", hidden: true });
    this.#explainButton = button("Explain", () => void this.#explain(), { id: "explain", title: "Ctrl+Shift+Enter", disabled: true });
    const query = h("section", { class: "query", "aria-label": "Query" },
      this.#title, this.#description, this.#form.element,
      h("div", { class: "actions" }, this.#runButton, this.#stopButton, this.#explainButton,
        h("span", { class: "note keys-hint" }, h("kbd", {}, "Ctrl"), "+", h("kbd", {}, "Enter"), " runs, ", h("kbd", {}, "Shift"), " with it explains")));
    this.element = h("div", { class: "workspace", onkeydown: (event: KeyboardEvent) => this.#key(event) },
      this.#tables.element,
      h("main", {}, query, this.#results.element));
  }

  /**
   * Reads the list of tables.
   *
   * @throws QueryError if the key is refused or the gateway cannot be reached.
   */
  async open(): Promise<void> {
    const tables = await this.#client.tables();
    this.#tables.showTables(tables);
    const [first] = tables;
    if (first !== undefined) await this.#choose(first.name);
  }

  /** Ends what is under way. */
  close(): void {
    this.#run?.stop();
    this.#client.close();
  }

  async #choose(name: string): Promise<void> {
    this.#run?.stop();
    this.#run = null;
    this.#setRunning(false);
    this.#table = name;
    this.#schema = null;
    this.#title.textContent = name;
    this.#description.textContent = "";
    this.#tables.choose(name);
    this.#form.setTable(null);
    this.#results.clear();
    this.#runButton.disabled = false;
    this.#explainButton.disabled = false;
    try {
      const table = await this.#client.table(name);
      if (this.#table !== name) return; // Another one was chosen meanwhile.
      this.#schema = table;
      this.#description.textContent = table.description;
      this.#tables.showSchema(table);
      this.#form.setTable(table);
    } catch (error) {
      if (this.#table === name) this.#fail(error);
    }
  }

  async #start(): Promise<void> {
    const draft = this.#draft();
    if (draft === null) return;
    this.#run?.stop();
    const run = new Run(this.#client, draft, () => { if (run === this.#run) this.#results.refresh(); });
    this.#run = run;
    this.#results.begin(run, keysOf(this.#schema));
    await this.#follow(run, run.read());
  }

  async #continue(): Promise<void> {
    const run = this.#run;
    if (run !== null && run.canContinue) await this.#follow(run, run.continue());
  }

  async #follow(run: Run, reading: Promise<void>): Promise<void> {
    this.#clearErrors();
    this.#setRunning(true);
    await reading;
    if (run !== this.#run) return;
    this.#setRunning(false);
    this.#results.grid.grow(); // The next frame would be too late.
    this.#form.learn(this.#results.grid.columns);
    if (run.error !== null) this.#fail(run.error);
  }

  async #explain(): Promise<void> {
    const draft = this.#draft();
    if (draft === null) return;
    this.#clearErrors();
    try {
      this.#results.explain(await this.#client.explain(queryOf(draft)));
    } catch (error) {
      this.#fail(error);
    }
  }

  #draft(): Draft | null {
    try {
      return this.#table === "" ? null : this.#form.draft(this.#table);
    } catch (error) {
      this.#fail(error);
      return null;
    }
  }

  #fail(error: unknown): void {
    if (error instanceof QueryError && error.code === "UNAUTHENTICATED") {
      this.#onRefused(error.message);
      return;
    }
    this.#form.editor.mark(marksOf(error));
    this.#results.notify(errorNotice(error, this.#config.gateway));
  }

  #clearErrors(): void {
    this.#form.editor.mark([]);
    this.#results.notify(null);
  }

  #setRunning(isRunning: boolean): void {
    this.#stopButton.hidden = !isRunning;
    this.#runButton.hidden = isRunning;
  }

  #key(event: KeyboardEvent): void {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    void (event.shiftKey ? this.#explain() : this.#start());
  }
}

function keysOf(table: Table | null): string[] {
  if (table === null) return [];
  return [...table.key.partition, ...table.key.sort].map(({ name }) => name).filter((name) => name !== "");
}
