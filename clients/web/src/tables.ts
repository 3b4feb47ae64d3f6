/** The list of tables, and the keys and indexes of the chosen one. */

import type { KeyAttribute, KeySchema, Table, TableSummary } from "dynamodb-processor-client";
import { button, fill, h, type Child } from "./dom.js";

const FILTER_FROM = 8; // Tables.

/** The column with the tables. */
export class TablesPanel {
  readonly element: HTMLElement;
  readonly #filter: HTMLInputElement;
  readonly #list = h("ul", { class: "tables" });
  readonly #schema = h("div", { class: "schema" });
  readonly #onChoose: (name: string) => void;
  readonly #onInsert: (name: string) => void;
  #tables: readonly TableSummary[] = [];
  #chosen = "";

  constructor(onChoose: (name: string) => void, onInsert: (name: string) => void) {
    this.#onChoose = onChoose;
    this.#onInsert = onInsert;
    this.#filter = h("input", { type: "search", "aria-label": "Filter tables by name", placeholder: "Filter tables", oninput: () => this.#drawList(), hidden: true });
    this.element = h("nav", { class: "side", "aria-label": "Tables" }, h("h2", {}, "Tables"), this.#filter, this.#list, this.#schema);
  }

  /** Shows the granted tables. */
  showTables(tables: readonly TableSummary[]): void {
    this.#tables = tables;
    this.#filter.hidden = tables.length < FILTER_FROM;
    this.#drawList();
  }

  /** Marks a table as chosen; its keys follow. */
  choose(name: string): void {
    this.#chosen = name;
    fill(this.#schema);
    this.#drawList();
  }

  /** Shows the keys of the chosen table. */
  showSchema(table: Table): void {
    // A phone shows the query first.
    const isWide = matchMedia("(min-width: 52rem)").matches;
    fill(this.#schema, h("details", { open: isWide }, h("summary", {}, "Keys and indexes"),
      h("h3", {}, "Key"),
      this.#keyList(table.key),
      table.indexes.length === 0 ? null : h("h3", {}, "Indexes"),
      ...table.indexes.map((index) =>
        h("section", { class: "index" },
          h("h4", {}, index.name, h("span", { class: "badge" }, index.kind.toLowerCase())),
          this.#keyList(index.key),
          index.projectsAll ? null : h("p", { class: "note" }, `holds ${index.projectedAttributes.join(", ")}`))),
      h("h3", {}, "Rules"),
      h("ul", { class: "facts" }, ...factsOf(table).map((fact) => h("li", {}, fact)))));
  }

  #drawList(): void {
    const wanted = this.#filter.value.trim().toLowerCase();
    const shown = this.#tables.filter(({ name }) => name.toLowerCase().includes(wanted));
    const items: Child[] = shown.map(({ name, description }) =>
      h("li", {}, button(name, () => this.#onChoose(name), {
        "aria-current": name === this.#chosen ? "true" : null,
        title: description === "" ? null : description,
      })));
    if (items.length === 0) items.push(h("li", { class: "empty" }, this.#tables.length === 0 ? "This key grants no table." : "No table has that in its name."));
    fill(this.#list, ...items);
  }

  #keyList(key: KeySchema): HTMLElement {
    const part = (attributes: readonly KeyAttribute[], role: string) =>
      attributes.map((attribute) =>
        h("li", {},
          attribute.name === ""
            ? h("code", {}, attribute.template)
            : button(h("code", {}, attribute.name), () => this.#onInsert(attribute.name), { class: "link", title: `Insert ${attribute.name} into the expression` }),
          h("span", { class: "note" }, ` ${role}, ${attribute.type.toLowerCase()}`),
          attribute.name === "" || attribute.template === "" ? null : h("div", { class: "note" }, h("code", {}, attribute.template))));
    return h("ul", { class: "keys" }, ...part(key.partition, "partition"), ...part(key.sort, "sort"));
  }
}

function factsOf(table: Table): string[] {
  const facts = [
    `${table.defaultPageSize} items a page, at most ${table.maxPageSize}`,
    table.cacheTtlMs === 0 ? "pages are not cached" : `pages are cached for ${table.cacheTtlMs / 1_000} s`,
    table.allowScan ? "scans are allowed" : "no scans: fix a partition key",
  ];
  if (table.timestampAttributes.length > 0) facts.push(`times: ${table.timestampAttributes.join(", ")}`);
  if (table.timeToLiveAttribute !== "") facts.push(`items expire by ${table.timeToLiveAttribute}`);
  return facts;
}
