/** The plan of a query as a tree: the path that is used, and those that are not, with the reasons. */

import type { AccessPath, Explanation } from "dynamodb-processor-client";
import { fill, h, type Child } from "./dom.js";
import { tokens } from "./lexer.js";

const PATHS: Record<AccessPath, string> = {
  GET: "Get of one item",
  TABLE: "Query of the table",
  LOCAL_INDEX: "Query of a local index",
  GLOBAL_INDEX: "Query of a global index",
  SCAN: "Scan",
  NOTHING: "Nothing is read: the condition contradicts itself",
  UNKNOWN: "A path that this console does not know",
};

/** The panel with the plan. */
export class ExplainPanel {
  readonly element = h("div", { class: "explain" });

  constructor() {
    this.clear();
  }

  /** Shows that there is no plan yet. */
  clear(): void {
    fill(this.element, h("p", { class: "empty" },
      "Explain shows which table or index a query reads, what DynamoDB filters, and why other paths were not used. It reads nothing."));
  }

  /** Shows a plan. */
  show(plan: Explanation): void {
    const index = plan.index === "" ? "" : ` ${plan.index}`;
    const parts = plan.branches > 1 ? `${plan.branches} partitions, merged by sort key` : plan.branches === 1 ? "1 partition" : "";
    const chosen = branch("used", [h("strong", {}, `${PATHS[plan.path]}${index}`), parts === "" ? null : h("span", { class: "badge" }, parts)], [
      condition("Key condition", plan.keyCondition, "narrows what DynamoDB reads"),
      condition("Filter in DynamoDB", plan.filterExpression, "applied after reading: what it drops is paid"),
      condition("Filter in the service", plan.localFilter, "applied to what DynamoDB returns"),
      ...plan.warnings.map((text) => leaf("warning", h("strong", {}, "Warning: "), text)),
    ]);
    const rejected = plan.rejected.map(({ index: name, reason }) =>
      branch("rejected", [h("code", {}, name === "@table" ? "the table itself" : name)], [leaf("reason", reason)]));
    const others = rejected.length === 0
      ? leaf("", "There is no other path.")
      : branch("others", [h("strong", {}, "Paths that are not used"), h("span", { class: "badge" }, String(rejected.length))], rejected);
    fill(this.element, h("ul", { class: "tree" }, chosen, others));
  }
}

function branch(kind: string, title: Child[], children: Child[]): HTMLElement {
  const items = children.filter((child) => child !== null);
  return h("li", { class: kind },
    h("details", { open: true }, h("summary", {}, ...title), items.length === 0 ? null : h("ul", {}, ...items)));
}

function leaf(kind: string, ...content: Child[]): HTMLElement {
  return h("li", { class: `leaf ${kind}` }, ...content);
}

function condition(title: string, text: string, note: string): HTMLElement | null {
  if (text === "") return null;
  const pieces = tokens(text).map((token) => h("span", { class: token.kind }, token.text));
  return leaf("condition", h("span", { class: "title" }, title), h("span", { class: "note" }, ` ${note}`), h("pre", {}, ...pieces));
}
