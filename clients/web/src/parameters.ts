/** Values of parameters: from the text that a user types to the forms that programs need. */

import { binary, number, NumberText, type InputValue } from "dynamodb-processor-client";

/** The types that a parameter can have in the form. */
export const PARAMETER_TYPES = ["string", "number", "boolean", "null", "binary", "json"] as const;
export type ParameterType = (typeof PARAMETER_TYPES)[number];

/** A parameter as the user typed it. */
export interface Parameter {
  readonly name: string;
  readonly type: ParameterType;
  readonly text: string;
}

/** A value with its type, independent of any program. */
export type Typed =
  | { readonly kind: "s"; readonly value: string }
  | { readonly kind: "n"; readonly value: string }
  | { readonly kind: "b"; readonly value: string }
  | { readonly kind: "bool"; readonly value: boolean }
  | { readonly kind: "null" }
  | { readonly kind: "l"; readonly value: readonly Typed[] }
  | { readonly kind: "m"; readonly value: readonly (readonly [string, Typed])[] };

/**
 * Returns the value of a parameter.
 *
 * @throws Error with the parameter, the problem and the remedy.
 */
export function typedOf({ name, type, text }: Parameter): Typed {
  try {
    switch (type) {
      case "string":
        return { kind: "s", value: text };
      case "number":
        return { kind: "n", value: number(text.trim()).text };
      case "boolean":
        return { kind: "bool", value: text === "true" };
      case "null":
        return { kind: "null" };
      case "binary":
        binary(text.trim());
        return { kind: "b", value: text.trim() };
      case "json":
        return typedJson(text);
    }
  } catch (error) {
    throw new Error(`:${name}: ${(error as Error).message}`);
  }
}

/** Returns a value as the client takes it. */
export function inputOf(value: Typed): InputValue {
  switch (value.kind) {
    case "s":
    case "bool":
      return value.value;
    case "n":
      return number(value.value);
    case "b":
      return binary(value.value);
    case "null":
      return null;
    case "l":
      return value.value.map(inputOf);
    case "m":
      return new Map(value.value.map(([name, one]) => [name, inputOf(one)]));
  }
}

/** Returns a value as the contract's AttributeValue in JSON. */
export function attributeValue(value: Typed): unknown {
  switch (value.kind) {
    case "null":
      return { null: true };
    case "l":
      return { l: { values: value.value.map(attributeValue) } };
    case "m":
      return { m: { fields: Object.fromEntries(value.value.map(([name, one]) => [name, attributeValue(one)])) } };
    default:
      return { [value.kind]: value.value };
  }
}

function typedJson(text: string): Typed {
  let parsed: unknown;
  try {
    // The source of a number has all its digits. https://tc39.es/proposal-json-parse-with-source/
    const reviver = (_: string, value: unknown, context?: { source?: string }): unknown =>
      typeof value === "number" ? new NumberText(exact(value, context?.source)) : value;
    parsed = JSON.parse(text, reviver as (key: string, value: unknown) => unknown);
  } catch (error) {
    if (error instanceof RangeError) throw error;
    throw new Error('this is not JSON; a list is like ["a", 1], a map like {"name": "a"}');
  }
  return typedParsed(parsed);
}

function exact(value: number, source: string | undefined): string {
  if (source !== undefined) return number(source).text;
  if (Number.isInteger(value) && !Number.isSafeInteger(value)) {
    throw new RangeError("this browser cannot read integers beyond 2^53 in JSON: use a parameter of type number");
  }
  return number(String(value)).text;
}

function typedParsed(value: unknown): Typed {
  if (value instanceof NumberText) return { kind: "n", value: value.text };
  if (typeof value === "string") return { kind: "s", value };
  if (typeof value === "boolean") return { kind: "bool", value };
  if (value === null) return { kind: "null" };
  if (Array.isArray(value)) return { kind: "l", value: value.map(typedParsed) };
  const entries = Object.entries(value as Record<string, unknown>);
  return { kind: "m", value: entries.map(([name, one]) => [name, typedParsed(one)] as const) };
}
