/** Texts of values with their types, which are equal exactly if the values are. */

import type { JsonObject } from "@bufbuild/protobuf";
import { NumberText, type Item, type Value } from "../src/index.js";
import { canonicalNumber } from "../src/numbers.js";

/** Returns the text of an item. */
export function typedItem(item: Item): string {
  return typedValue(item);
}

/** Returns the text of a value that the client returned, with numbers as `NumberText`. */
export function typedValue(value: Value | undefined): string {
  return JSON.stringify(ofValue(value));
}

/** Returns the text of a value in proto3 JSON. */
export function typedJson(value: JsonObject): string {
  return JSON.stringify(ofJson(value));
}

/** Throws if two values have another text in JSON. */
export function same(found: unknown, expected: unknown, what: string): void {
  const [left, right] = [text(found), text(expected)];
  if (left !== right) throw new Error(`${what}: found ${left}, expected ${right}`);
}

function text(value: unknown): string {
  return JSON.stringify(value, (_, one: unknown) => {
    if (typeof one !== "object" || one === null || Array.isArray(one)) return one;
    return Object.fromEntries(Object.entries(one).sort(([left], [right]) => (left < right ? -1 : 1)));
  });
}

function ofValue(value: Value | undefined): unknown {
  if (typeof value === "string") return ["s", value];
  if (typeof value === "boolean") return ["bool", value];
  if (value === null) return ["null"];
  if (value instanceof NumberText) return ["n", canonicalNumber(value.text)];
  if (value instanceof Uint8Array) return ["b", hex(value)];
  if (value instanceof Set) return ["set", [...value].map((one) => JSON.stringify(ofValue(one))).sort()];
  if (Array.isArray(value)) return ["l", value.map(ofValue)];
  if (typeof value === "object" && !(value instanceof Date)) {
    return ["m", Object.keys(value).sort().map((name) => [name, ofValue(value[name])])];
  }
  throw new Error(`no value of an item: ${String(value)}`);
}

function ofJson(value: JsonObject): unknown {
  const [[kind, data]] = Object.entries(value) as [[string, any]];
  switch (kind) {
    case "n":
      return ["n", canonicalNumber(data)];
    case "b":
      return ["b", hex(Uint8Array.from(atob(data), (one) => one.charCodeAt(0)))];
    case "null":
      return ["null"];
    case "ss":
    case "ns":
    case "bs": {
      const member = kind.charAt(0);
      const members = (data.values as string[]).map((one) => JSON.stringify(ofJson({ [member]: one })));
      return ["set", members.sort()];
    }
    case "l":
      return ["l", ((data.values ?? []) as JsonObject[]).map(ofJson)];
    case "m": {
      const fields = (data.fields ?? {}) as Record<string, JsonObject>;
      return ["m", Object.keys(fields).sort().map((name) => [name, ofJson(fields[name]!)])];
    }
    default:
      return [kind, data];
  }
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
