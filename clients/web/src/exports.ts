/** Items as files: CSV for spreadsheets, JSON for programs. */

import type { Item, Value } from "dynamodb-processor-client";
import { NumberText } from "dynamodb-processor-client";
import { base64, toJson } from "./values.js";

// A spreadsheet takes text with one of these at its start for a formula.
// https://owasp.org/www-community/attacks/CSV_Injection
const FORMULA = /^[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/;
const NEEDS_QUOTES = /[,"\r\n]|^\s|\s$|^(?:null)?$/;
const CHUNK = 1_000;

/**
 * Yields the pieces of a CSV file (RFC 4180).
 *
 * A missing attribute is an empty cell, `""` an empty text, `null` DynamoDB's null; lists, maps and
 * sets are JSON, binary values base64. Text that a spreadsheet would calculate begins with `'`.
 */
export function* csv(items: readonly Item[], columns: readonly string[]): Generator<string> {
  yield line(columns.map(textCell));
  for (let at = 0; at < items.length; at += CHUNK) {
    const rows = items.slice(at, at + CHUNK);
    yield rows.map((item) => line(columns.map((name) => cell(own(item, name))))).join("");
  }
}

/** Yields the pieces of a JSON document: an array with one item a line. */
export function* json(items: readonly Item[]): Generator<string> {
  yield "[";
  for (let at = 0; at < items.length; at += CHUNK) {
    const rows = items.slice(at, at + CHUNK);
    yield `${at === 0 ? "" : ","}\n${rows.map((item) => toJson(item)).join(",\n")}`;
  }
  yield items.length === 0 ? "]\n" : "\n]\n";
}

/** Returns an attribute of an item; `undefined` if the item does not have it. */
export function own(item: Item, name: string): Value | undefined {
  return Object.hasOwn(item, name) ? item[name] : undefined;
}

function cell(value: Value | undefined): string {
  if (value === undefined) return "";
  if (value === null) return "null";
  if (typeof value === "string") return textCell(value);
  if (value instanceof NumberText || typeof value === "boolean") return String(value);
  if (value instanceof Uint8Array) return textCell(base64(value));
  return quotedCell(toJson(value));
}

function textCell(text: string): string {
  return FORMULA.test(text) ? quotedCell(`'${text}`) : NEEDS_QUOTES.test(text) ? quotedCell(text) : text;
}

function quotedCell(text: string): string {
  return `"${text.replaceAll('"', '""')}"`;
}

function line(cells: string[]): string {
  return `${cells.join(",")}\r\n`;
}
