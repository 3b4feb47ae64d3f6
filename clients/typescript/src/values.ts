/** Conversion between values of JavaScript and DynamoDB. */

import { create } from "@bufbuild/protobuf";
import { shown, text } from "./checks.js";
import { badAnswer, QueryError } from "./errors.js";
import {
  AttributeValueSchema,
  ItemSchema,
  type AttributeValue,
  type Item as ItemMessage,
} from "./gen/dynamodb_processor/v1/value_pb.js";
import { checkedNumber, exactNumber, number, NumberText, textOf } from "./numbers.js";

/** A value in an item. Numbers have the form that the client's option `numbers` says. */
export type Value =
  | string
  | number
  | bigint
  | boolean
  | null
  | NumberText
  | Uint8Array
  | Set<string | number | bigint | NumberText | Uint8Array>
  | Value[]
  | { [name: string]: Value };

/** One item: its values by attribute name. */
export type Item = Record<string, Value>;

/** A value of a parameter or a key. */
export type InputValue =
  | string
  | number
  | bigint
  | boolean
  | null
  | NumberText
  | Date
  | Uint8Array
  | ArrayBuffer
  | ReadonlySet<string | number | bigint | NumberText | Uint8Array>
  | readonly InputValue[]
  | ReadonlyMap<string, InputValue>
  | { readonly [name: string]: InputValue };

/** The form of DynamoDB numbers in items. */
export type NumberForm = "string" | "number" | ((text: string) => unknown);

const MAX_DEPTH = 32;

/**
 * Returns bytes by their base64 text, as a binary parameter.
 *
 * @throws RangeError if the text is not base64.
 */
export function binary(base64: string): Uint8Array {
  let decoded: string;
  try {
    decoded = atob(base64);
  } catch {
    throw new RangeError(`${shown(base64)} is not base64`);
  }
  return Uint8Array.from(decoded, (one) => one.charCodeAt(0));
}

/**
 * Returns a set of numbers by their decimal texts, as a parameter.
 *
 * @throws TypeError or RangeError as `number` does.
 */
export function numberSet(texts: Iterable<string>): Set<NumberText> {
  return new Set(Array.from(texts, number));
}

/** Returns values by name as messages. Throws TypeError or RangeError, with the path of the value. */
export function encodeFields(what: string, fields: unknown): { [name: string]: AttributeValue } {
  if (!isPlainObject(fields)) throw new TypeError(`${what} is an object of values, not ${shown(fields)}`);
  return encodeEntries(what, Object.entries(fields), 0);
}

/** Returns a primary key as a message. Throws TypeError or RangeError, with the path of the value. */
export function encodeKey(what: string, key: unknown): ItemMessage {
  return create(ItemSchema, { attributes: encodeFields(what, key) });
}

/** Returns an item. Throws QueryError for a value of a kind that this client does not know. */
export function decodeItem(item: ItemMessage, numbers: NumberForm): Item {
  return decodeFields(item.attributes, numberReader(numbers));
}

/** Converts decimal text. A function of the caller may return other types, which only it knows. */
type NumberReader = (text: string) => string | number | bigint | NumberText;

function numberReader(form: NumberForm): NumberReader {
  const reader = form === "string" ? (text: string) => text : form === "number" ? exactNumber : form;
  return reader as NumberReader;
}

function encode(what: string, value: unknown, depth: number): AttributeValue {
  if (depth > MAX_DEPTH) throw new RangeError(`${what}: a value has at most ${MAX_DEPTH} levels`);
  return create(AttributeValueSchema, { value: encodeKind(what, value, depth) });
}

type Kind = AttributeValue["value"];

function encodeKind(what: string, value: unknown, depth: number): Kind {
  if (value === null) return { case: "null", value: true };
  if (typeof value === "boolean") return { case: "bool", value };
  const scalar = encodeScalar(what, value);
  if (scalar !== null) return scalar;
  if (value instanceof Set) return encodeSet(what, [...value]);
  if (Array.isArray(value)) {
    const values = Array.from(value, (one, index) => encode(`${what}[${index}]`, one, depth + 1));
    return { case: "l", value: { $typeName: "dynamodb_processor.v1.ListValue", values } };
  }
  const entries = value instanceof Map ? [...value] : isPlainObject(value) ? Object.entries(value) : null;
  if (entries === null) throw new TypeError(`${what}: DynamoDB has no type for ${shown(value)}`);
  const fields = encodeEntries(what, entries, depth + 1);
  return { case: "m", value: { $typeName: "dynamodb_processor.v1.MapValue", fields } };
}

type Scalar = Extract<Kind, { case: "s" | "n" | "b" }>;

function encodeScalar(what: string, value: unknown): Scalar | null {
  if (typeof value === "string") return { case: "s", value: text(what, value) };
  if (value instanceof Uint8Array) return { case: "b", value: new Uint8Array(value) };
  if (value instanceof ArrayBuffer) return { case: "b", value: new Uint8Array(value.slice(0)) };
  try {
    if (typeof value === "number" || typeof value === "bigint") return { case: "n", value: textOf(value) };
    if (value instanceof NumberText) return { case: "n", value: checkedNumber(value.text) };
    if (value instanceof Date) return { case: "s", value: timestamp(value) };
  } catch (error) {
    throw new RangeError(`${what}: ${(error as Error).message}`);
  }
  return null;
}

/** Returns RFC 3339 text in UTC, with a fraction only if the time has milliseconds. */
function timestamp(value: Date): string {
  const year = value.getUTCFullYear();
  if (!(year >= 1 && year <= 9999)) throw new RangeError("a time has a year from 1 to 9999");
  return value.toISOString().replace(".000Z", "Z");
}

function encodeSet(what: string, members: unknown[]): Kind {
  if (members.length === 0) throw new RangeError(`${what}: DynamoDB has no empty sets`);
  const encoded = members.map((member) => {
    const scalar = encodeScalar(what, member);
    if (scalar === null) throw new TypeError(`${what}: a set holds no ${shown(member)}`);
    return scalar;
  });
  const kinds = new Set(encoded.map((one) => one.case));
  if (kinds.size > 1) {
    throw new TypeError(`${what}: a set holds strings, or numbers, or binary values; not several of them`);
  }
  const values = encoded.map((one) => one.value);
  switch (encoded[0]?.case) {
    case "s":
      return { case: "ss", value: { $typeName: "dynamodb_processor.v1.StringSet", values: values as string[] } };
    case "n":
      return { case: "ns", value: { $typeName: "dynamodb_processor.v1.NumberSet", values: values as string[] } };
    default:
      return { case: "bs", value: { $typeName: "dynamodb_processor.v1.BinarySet", values: values as Uint8Array[] } };
  }
}

function encodeEntries(
  what: string,
  entries: [unknown, unknown][],
  depth: number,
): { [name: string]: AttributeValue } {
  const fields: { [name: string]: AttributeValue } = {};
  for (const [name, value] of entries) {
    if (typeof name !== "string") throw new TypeError(`${what}: a name is a string, not ${shown(name)}`);
    text(`${what}: a name`, name);
    setField(fields, name, encode(`${what}.${name}`, value, depth));
  }
  return fields;
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function decodeFields(fields: { [name: string]: AttributeValue }, read: NumberReader): Item {
  const item: Item = {};
  // The order of a map on the wire is arbitrary.
  for (const name of Object.keys(fields).sort()) {
    setField(item, name, decode(fields[name] as AttributeValue, read));
  }
  return item;
}

/** Sets a field, also one with the name `__proto__`, which an assignment would take for the prototype. */
function setField<T>(fields: { [name: string]: T }, name: string, value: T): void {
  if (name === "__proto__") {
    Object.defineProperty(fields, name, { value, configurable: true, enumerable: true, writable: true });
  } else {
    fields[name] = value;
  }
}

function decode({ value }: AttributeValue, read: NumberReader): Value {
  switch (value.case) {
    case "s":
    case "b":
    case "bool":
      return value.value;
    case "n":
      return readNumber(value.value, read);
    case "null":
      return null;
    case "ss":
      return new Set(value.value.values);
    case "bs":
      return new Set(value.value.values);
    case "ns":
      return new Set(value.value.values.map((one) => readNumber(one, read)));
    case "l":
      return value.value.values.map((one) => decode(one, read));
    case "m":
      return decodeFields(value.value.fields, read);
    default:
      throw new QueryError(
        "INTERNAL",
        "the service sent a value of a kind that this client does not know; update the client",
        { reason: "UNKNOWN_VALUE_KIND" },
      );
  }
}

function readNumber(text: string, read: NumberReader): ReturnType<NumberReader> {
  try {
    checkedNumber(text);
  } catch (error) {
    throw badAnswer("the service sent a bad number", error);
  }
  return read(text);
}
