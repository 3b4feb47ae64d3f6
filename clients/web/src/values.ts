/** Values of items as text: JSON with every digit of numbers, and short text for cells. */

import { NumberText, type Item, type Value } from "dynamodb-processor-client";

const MAX_CELL = 160;
// Control characters, and marks that turn the direction of text or are invisible.
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\u2028\u2029]/gu;

/** A class of values that cells show differently. */
export type CellKind = "text" | "number" | "dim" | "nested";

/** Returns a value as JSON. Binary values are base64, sets are lists, numbers keep their digits. */
export function toJson(value: Value): string {
  if (value instanceof NumberText) return jsonNumber(value.text);
  if (value instanceof Uint8Array) return JSON.stringify(base64(value));
  if (value instanceof Set) return list([...value] as Value[]);
  if (Array.isArray(value)) return list(value);
  if (value !== null && typeof value === "object") {
    const entries = Object.entries(value).map(([name, one]) => `${JSON.stringify(name)}:${toJson(one)}`);
    return `{${entries.join(",")}}`;
  }
  return JSON.stringify(value);
}

/** Returns an item as JSON with a line for each attribute and nested value. */
export function prettyJson(value: Value, indent = ""): string {
  const isRecord = value !== null && typeof value === "object" && Object.getPrototypeOf(value) === Object.prototype;
  const values = value instanceof Set ? [...value] as Value[] : Array.isArray(value) ? value : null;
  const deeper = `${indent}  `;
  if (values !== null && values.some((one) => one !== null && typeof one === "object" && !(one instanceof NumberText))) {
    return `[\n${values.map((one) => deeper + prettyJson(one, deeper)).join(",\n")}\n${indent}]`;
  }
  if (!isRecord || Object.keys(value).length === 0) return toJson(value);
  const entries = Object.entries(value as Item);
  const lines = entries.map(([name, one]) => `${deeper}${JSON.stringify(name)}: ${prettyJson(one, deeper)}`);
  return `{\n${lines.join(",\n")}\n${indent}}`;
}

/** Returns the text of a cell, which has one line and a bounded length. */
export function cellText(value: Value): string {
  const text = typeof value === "string" ? value.slice(0, 2 * MAX_CELL) : plain(value);
  const shown = visible(text);
  return shown.length > MAX_CELL ? `${shown.slice(0, MAX_CELL)}…` : shown;
}

/** Returns the class of a value. */
export function cellKind(value: Value): CellKind {
  if (typeof value === "string") return "text";
  if (value instanceof NumberText) return "number";
  return value === null || typeof value === "boolean" || value instanceof Uint8Array ? "dim" : "nested";
}

/** Returns text with characters that nobody sees as escapes. */
export function visible(text: string): string {
  return text.replace(INVISIBLE, (one) => `\\u{${(one.codePointAt(0) ?? 0).toString(16)}}`);
}

/** Returns bytes as base64. */
export function base64(bytes: Uint8Array): string {
  const parts: string[] = [];
  for (let at = 0; at < bytes.length; at += 8_192) {
    parts.push(String.fromCharCode(...bytes.subarray(at, at + 8_192)));
  }
  return btoa(parts.join(""));
}

function plain(value: Value): string {
  if (value instanceof Uint8Array) return `${value.length} bytes ${base64(value.subarray(0, 24))}`;
  return toJson(value);
}

function list(values: Value[]): string {
  return `[${values.map(toJson).join(",")}]`;
}

/** Returns decimal text in the form that JSON has: no plus sign, a digit before and after the point. */
function jsonNumber(text: string): string {
  const match = /^([+-]?)0*(\d*)(?:\.(\d*))?(e[+-]?\d+)?$/i.exec(text);
  if (match === null) return JSON.stringify(text);
  const [, sign, whole, fraction, exponent] = match;
  return `${sign === "-" ? "-" : ""}${whole || "0"}${fraction ? `.${fraction}` : ""}${exponent ?? ""}`;
}
