/**
 * The affinity key of a read: equal reads, and reads of one partition, have the same.
 *
 * Proxies that balance by the header `x-affinity-key` send them to the same replica, which then has
 * them in its cache. docs/reference/affinity.md defines the key; tests/cases/affinity.json has vectors
 * for clients in all languages.
 */

import { create } from "@bufbuild/protobuf";
import type { KeySchema } from "./gen/dynamodb_processor/v1/catalog_service_pb.js";
import type { QuerySpec } from "./gen/dynamodb_processor/v1/query_pb.js";
import { AttributeValueSchema, type AttributeValue, type Item } from "./gen/dynamodb_processor/v1/value_pb.js";
import { canonicalNumber } from "./numbers.js";

// FNV-1a with 64 bits: http://www.isthe.com/chongo/tech/comp/fnv/
const OFFSET_BASIS = 0xcbf29ce484222325n;
const PRIME = 0x100000001b3n;
// Bytes that are hashed: a longer text costs time, and tells reads apart no better.
const MAX_BYTES = 4_096;

const TOKEN = new RegExp(
  [
    '(?<quoted>"(?:[^"]|"")+")',
    "(?<string>'(?:[^']|'')*')",
    "(?<parameter>:[A-Za-z0-9_]+)",
    "(?<name>[A-Za-z_][A-Za-z0-9_]*)",
    "(?<number>[-+]?(?:[0-9]+(?:\\.[0-9]*)?|\\.[0-9]+)(?:[eE][-+]?[0-9]+)?)",
    "(?<sign><=|>=|<>|[^ \\t\\r\\n\\f])",
  ].join("|"),
  "gsu",
);

interface Token {
  readonly kind: string;
  readonly text: string;
}

/** Returns the hash of a table's name and a text: 16 lower-case hexadecimal digits. */
export function affinityKey(table: string, text: string): string {
  let key = OFFSET_BASIS;
  for (const byte of new TextEncoder().encode(`${table}\0${text}`).subarray(0, MAX_BYTES)) {
    key = BigInt.asUintN(64, (key ^ BigInt(byte)) * PRIME);
  }
  return key.toString(16).padStart(16, "0");
}

/** Returns the name of a table's partition key; `null` if callers see only its parts. */
export function partitionAttribute(key: KeySchema | undefined): string | null {
  const [first, ...others] = key?.partition ?? [];
  return first !== undefined && others.length === 0 && first.name !== "" ? first.name : null;
}

/** Returns the text that identifies the partition of a query, or else the whole query. */
export function queryText(query: QuerySpec, partition: string | null): string {
  const value = partition === null ? null : fixedValue(query, partition);
  if (value !== null) return valueText(value);
  return [query.expression, ...namedTexts(query.parameters)].join("\0");
}

/** Returns the text that identifies the partition of a primary key, or else the whole key. */
export function getText(key: Item, partition: string | null): string {
  const value = partition === null ? undefined : own(key.attributes, partition);
  return value === undefined ? namedTexts(key.attributes).join("\0") : valueText(value);
}

/** Returns the canonical text of a value; equal values have the same. */
export function valueText({ value }: AttributeValue): string {
  switch (value.case) {
    case "s":
      return `S:${value.value}`;
    case "n":
      return `N:${canonicalNumber(value.value)}`;
    case "b":
      return `B:${hex(value.value)}`;
    case "bool":
      return `BOOL:${value.value}`;
    case "ss":
      return setText("SS", value.value.values);
    case "ns":
      return setText("NS", value.value.values.map(canonicalNumber));
    case "bs":
      return setText("BS", value.value.values.map(hex));
    case "l":
      return `L:[${value.value.values.map(valueText).join(",")}]`;
    case "m": {
      const { fields } = value.value;
      const texts = sorted(Object.keys(fields)).map((name) => `${name}=${valueText(fields[name]!)}`);
      return `M:{${texts.join(",")}}`;
    }
    default:
      return "NULL:";
  }
}

function setText(kind: string, members: string[]): string {
  return `${kind}:[${sorted(members).join(",")}]`;
}

function namedTexts(values: { [name: string]: AttributeValue }): string[] {
  return sorted(Object.keys(values)).flatMap((name) => [name, valueText(values[name]!)]);
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Sorts by code points; JavaScript's own order is by UTF-16 units. */
function sorted(texts: string[]): string[] {
  return [...texts].sort((one, other) => {
    const left = Array.from(one);
    const right = Array.from(other);
    const at = left.findIndex((letter, index) => letter !== right[index]);
    if (at < 0) return left.length - right.length;
    return at < right.length ? left[at]!.codePointAt(0)! - right[at]!.codePointAt(0)! : 1;
  });
}

/** Returns the value that an expression requires of an attribute by `=`, if it surely does. */
function fixedValue(query: QuerySpec, partition: string): AttributeValue | null {
  for (const [first, sign, last, ...more] of conjuncts(query.expression)) {
    if (first === undefined || last === undefined || more.length > 0) continue;
    if (sign?.kind !== "sign" || sign.text !== "=") continue;
    for (const [attribute, operand] of [
      [first, last],
      [last, first],
    ] as const) {
      const value = nameIn(attribute) === partition ? valueIn(operand, query) : null;
      if (value !== null) return value;
    }
  }
  return null;
}

/** Returns the parts that an expression joins by AND, outside of parentheses; none with OR. */
function conjuncts(expression: string): Token[][] {
  const parts: Token[][] = [[]];
  let depth = 0;
  for (const token of tokens(expression)) {
    if (token.kind === "sign") depth += token.text === "(" ? 1 : token.text === ")" ? -1 : 0;
    const word = token.kind === "name" && depth === 0 ? token.text.toUpperCase() : "";
    if (word === "OR") return [];
    if (word === "AND") parts.push([]);
    else parts.at(-1)!.push(token);
  }
  return parts;
}

function tokens(expression: string): Token[] {
  return Array.from(expression.matchAll(TOKEN), ({ groups = {}, 0: text }) => ({
    kind: Object.keys(groups).find((name) => groups[name] !== undefined)!,
    text,
  }));
}

function nameIn({ kind, text }: Token): string | null {
  if (kind === "quoted") return text.slice(1, -1).replaceAll('""', '"');
  return kind === "name" ? text : null;
}

function valueIn({ kind, text }: Token, query: QuerySpec): AttributeValue | null {
  if (kind === "string") {
    const value = text.slice(1, -1).replaceAll("''", "'");
    return create(AttributeValueSchema, { value: { case: "s", value } });
  }
  if (kind === "number") return create(AttributeValueSchema, { value: { case: "n", value: text } });
  const value = kind === "parameter" ? own(query.parameters, text.slice(1)) : undefined;
  return value !== undefined && ["s", "n", "b"].includes(value.value.case ?? "") ? value : null;
}

function own<T>(fields: { [name: string]: T }, name: string): T | undefined {
  return Object.hasOwn(fields, name) ? fields[name] : undefined;
}
