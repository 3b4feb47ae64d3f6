/** The form of a query: expression, parameters and options. */

import type { CachePolicy, Table } from "dynamodb-processor-client";
import { attributesOf } from "./completion.js";
import { fill, h } from "./dom.js";
import type { Draft } from "./draft.js";
import { Editor } from "./editor.js";
import { parameterNames, quoted } from "./lexer.js";
import { PARAMETER_TYPES, typedOf, type Parameter, type ParameterType } from "./parameters.js";

const CACHE_MODES = ["default", "bypass", "refresh", "only-if-cached"] as const;
const PLACEHOLDERS: Record<ParameterType, string> = {
  string: "text",
  number: "12.50",
  boolean: "",
  null: "",
  binary: "base64",
  json: '["a", 1] or {"name": "a"}',
};

/** The form, and the query that it holds. */
export class QueryForm {
  readonly element: HTMLElement;
  readonly editor: Editor;
  readonly #parameters = h("div", { class: "parameters" });
  readonly #values = new Map<string, Parameter>();
  readonly #index = h("select", { id: "index" });
  readonly #order = select("order", [["ascending", "ascending"], ["descending", "descending"]]);
  readonly #consistency = select("consistency", [["eventual", "eventual"], ["strong", "strong (twice the cost)"]]);
  readonly #cache = select("cache", CACHE_MODES.map((mode) => [mode, mode.replaceAll("-", " ")]));
  readonly #projection = h("input", { id: "projection", type: "text", placeholder: "all", autocomplete: "off", spellcheck: "false" });
  readonly #maxItems = h("input", { id: "max-items", type: "number", min: 1, placeholder: "no limit" });
  readonly #pageSize = h("input", { id: "page-size", type: "number", min: 1, placeholder: "table's default" });
  readonly #maxUnits = h("input", { id: "max-units", type: "number", min: 0, step: "any", placeholder: "no limit" });
  #table: Table | null = null;
  #attributes: ReadonlyMap<string, string> = attributesOf(null);
  #shownNames = "";

  constructor(onChange: () => void) {
    this.editor = new Editor({
      attributes: () => this.#attributes,
      onChange: () => { this.#drawParameters(); onChange(); },
    });
    this.element = h("div", { class: "form", oninput: onChange },
      h("label", { for: "expression", class: "heading" }, "Condition"),
      this.editor.element,
      h("p", { id: "expression-hint", class: "note" },
        "DynamoDB's condition language, with literals or ", h("code", {}, ":parameters"), ". Empty means every item. ",
        h("span", { class: "keys-note" }, h("kbd", {}, "Ctrl"), "+", h("kbd", {}, "Space"), " completes names.")),
      this.#parameters,
      h("details", { class: "options" },
        h("summary", {}, "Options"),
        h("div", { class: "fields" },
          field("Index", this.#index), field("Order", this.#order), field("Consistency", this.#consistency), field("Cache", this.#cache),
          field("Attributes", this.#projection), field("Items in all", this.#maxItems), field("Items per page", this.#pageSize), field("Read units, at most", this.#maxUnits))));
    this.#showIndexes();
  }

  /** Shows the form for a table; `null` while it is not known. */
  setTable(table: Table | null): void {
    this.#table = table;
    this.#attributes = attributesOf(table);
    this.#showIndexes();
  }

  /** Offers attributes that were seen in items for completion. */
  learn(names: Iterable<string>): void {
    this.#attributes = attributesOf(this.#table, names);
  }

  /** Inserts an attribute into the expression. */
  insert(name: string): void {
    this.editor.insert(quoted(name));
  }

  /**
   * Returns the query.
   *
   * @throws Error with the field, the problem and the remedy.
   */
  draft(table: string): Draft {
    const names = parameterNames(this.editor.text);
    return {
      table,
      expression: this.editor.text.trim() === "" ? "" : this.editor.text,
      parameters: names.map((name) => [name, typedOf(this.#parameter(name))] as const),
      index: this.#index.value,
      isDescending: this.#order.value === "descending",
      isConsistent: this.#consistency.value === "strong",
      projection: this.#projection.value.split(",").map((path) => path.trim()).filter((path) => path !== ""),
      maxItems: numberIn(this.#maxItems, "Items in all", true),
      pageSize: numberIn(this.#pageSize, "Items per page", true) ?? 0,
      cacheMode: this.#cache.value as NonNullable<CachePolicy["mode"]>,
      maxReadUnits: numberIn(this.#maxUnits, "Read units, at most", false),
    };
  }

  #parameter(name: string): Parameter {
    return this.#values.get(name) ?? { name, type: "string", text: "" };
  }

  #drawParameters(): void {
    const names = parameterNames(this.editor.text);
    if (names.join() === this.#shownNames) return; // A field under the cursor must stay.
    this.#shownNames = names.join();
    fill(this.#parameters, ...names.map((name) => this.#parameterRow(name)));
  }

  #parameterRow(name: string): HTMLElement {
    const { type, text } = this.#parameter(name);
    const types = select(null, PARAMETER_TYPES.map((one) => [one, one === "json" ? "list or map" : one]));
    types.setAttribute("aria-label", `Type of ${name}`);
    types.value = type;
    const value = h("span", { class: "value" });
    const note = (change: Partial<Parameter>) => this.#values.set(name, { ...this.#parameter(name), ...change });
    const draw = (kind: ParameterType, content: string) => fill(value, valueInput(name, kind, content, (changed) => note({ text: changed })));
    types.addEventListener("change", () => {
      const kind = types.value as ParameterType;
      note({ type: kind, ...(kind === "boolean" ? { text: "true" } : {}) });
      draw(kind, this.#parameter(name).text);
    });
    draw(type, text);
    return h("div", { class: "parameter-row" }, h("code", {}, `:${name}`), types, value);
  }

  #showIndexes(): void {
    const chosen = this.#index.value;
    const names = ["", "@table", ...(this.#table?.indexes ?? []).map(({ name }) => name)];
    const labels: Record<string, string> = { "": "the service chooses", "@table": "the table itself" };
    fill(this.#index, ...names.map((name) => h("option", { value: name }, labels[name] ?? name)));
    this.#index.value = names.includes(chosen) ? chosen : "";
  }
}

function valueInput(name: string, type: ParameterType, text: string, onInput: (text: string) => void): HTMLElement {
  const label = { "aria-label": `Value of ${name}` };
  if (type === "null") return h("span", { class: "note" }, "null");
  if (type === "boolean") {
    const choice = select(null, [["true", "true"], ["false", "false"]]);
    choice.setAttribute("aria-label", label["aria-label"]);
    choice.value = text === "false" ? "false" : "true";
    choice.addEventListener("change", () => onInput(choice.value));
    return choice;
  }
  const input = h("input", {
    ...label,
    type: "text",
    inputmode: type === "number" ? "decimal" : null,
    placeholder: PLACEHOLDERS[type],
    autocomplete: "off",
    spellcheck: "false",
    oninput: () => onInput(input.value),
  });
  input.value = text;
  return input;
}

function select(id: string | null, options: readonly (readonly [string, string])[]): HTMLSelectElement {
  return h("select", { id }, ...options.map(([value, label]) => h("option", { value }, label)));
}

function field(label: string, control: HTMLElement): HTMLElement {
  return h("div", { class: "field" }, h("label", { for: control.id }, label), control);
}

function numberIn(input: HTMLInputElement, name: string, isWhole: boolean): number | null {
  if (input.validity.badInput) throw new Error(`${name}: this is not a number`);
  if (input.value === "") return null;
  const value = Number(input.value);
  if (!(value > 0) || (isWhole && !Number.isSafeInteger(value))) {
    throw new Error(`${name}: a ${isWhole ? "whole number from 1" : "number above 0"}, or nothing`);
  }
  return value;
}
