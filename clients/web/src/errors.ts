/** Errors as text for people: what happened, and the next step. */

import { QueryError } from "dynamodb-processor-client";
import { h } from "./dom.js";
import type { Mark } from "./editor.js";

/** Returns the marks of an error in the expression; none for other errors. */
export function marksOf(error: unknown): Mark[] {
  if (!(error instanceof QueryError)) return [];
  return error.violations
    .filter(({ column }) => column !== null)
    .map(({ column, description }) => ({ column: column ?? 1, message: withoutColumn(description) }));
}

/** Returns a notice about an error; `null` if the marks in the editor say everything. */
export function errorNotice(error: unknown, gateway: string): HTMLElement | null {
  if (!(error instanceof QueryError)) {
    return notice("Error", error instanceof Error ? error.message : String(error), []);
  }
  const rest = error.violations.filter(({ column }) => column === null);
  if (rest.length === 0 && error.violations.length > 0 && error.code === "INVALID_ARGUMENT") return null;
  const lines = error.code === "INVALID_ARGUMENT"
    ? rest.map(({ subject, description }) => `${subject}: ${description}`)
    : hintsOf(error, gateway);
  return notice(titleOf(error), error.message, lines, error.requestId);
}

function notice(title: string, message: string, lines: readonly string[], requestId = ""): HTMLElement {
  return h("div", { class: "notice error", role: "alert" },
    h("p", {}, h("strong", {}, title), ` ${message}`),
    lines.length === 0 ? null : h("ul", {}, ...lines.map((line) => h("li", {}, line))),
    requestId === "" ? null : h("p", { class: "note" }, "Id of the call in the service's log: ", h("code", {}, requestId)));
}

function titleOf({ code, reason }: QueryError): string {
  const name = code.toLowerCase().replaceAll("_", " ");
  const title = `${name.charAt(0).toUpperCase()}${name.slice(1)}`;
  return reason === "" || reason === code ? `${title}:` : `${title} (${reason}):`;
}

function hintsOf(error: QueryError, gateway: string): string[] {
  const lines: string[] = [];
  if (error.reason === "CONNECTION_FAILED") {
    lines.push(`Is the gateway at ${gateway} running, and does it allow the origin ${location.origin}?`);
  }
  if (error.retryAfterMs !== null) lines.push(`Try again in ${Math.ceil(error.retryAfterMs / 1_000)} s.`);
  return lines;
}

function withoutColumn(description: string): string {
  return description.replace(/^column \d+:\s*/i, "");
}
