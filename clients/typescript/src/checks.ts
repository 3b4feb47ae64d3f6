/** Checks arguments that programs in plain JavaScript may get wrong. */

const LONE_SURROGATE = /\p{Surrogate}/u;
const MAX_INT32 = 2 ** 31 - 1;

/**
 * Checks that `value` is an object with no other properties than `names`.
 *
 * A misspelt `maxItems` must not read every item.
 *
 * @throws TypeError if it is not.
 */
export function checkProperties(what: string, value: unknown, names: readonly string[]): void {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new TypeError(`${what} is an object, not ${shown(value)}`);
  }
  for (const name of Object.keys(value)) {
    if (!names.includes(name)) {
      throw new TypeError(`${what} has no property ${JSON.stringify(name)}; it has ${names.join(", ")}`);
    }
  }
}

/** Returns a string without half a surrogate pair; `undefined` is `""`. Throws TypeError otherwise. */
export function text(what: string, value: unknown): string {
  if (value === undefined) return "";
  if (typeof value !== "string") throw new TypeError(`${what} is a string, not ${shown(value)}`);
  if (LONE_SURROGATE.test(value)) {
    throw new RangeError(`${what} has half a surrogate pair, which UTF-8 cannot hold`);
  }
  return value;
}

/** Returns an array of strings; `undefined` is an empty one. Throws TypeError otherwise. */
export function texts(what: string, value: unknown): string[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw new TypeError(`${what} is an array of strings, not ${shown(value)}`);
  return value.map((one, index) => {
    if (one === undefined) throw new TypeError(`${what}[${index}] is undefined`);
    return text(`${what}[${index}]`, one);
  });
}

/** Returns a flag; `undefined` is `false`. Throws TypeError otherwise. */
export function flag(what: string, value: unknown): boolean {
  if (value === undefined) return false;
  if (typeof value !== "boolean") throw new TypeError(`${what} is true or false, not ${shown(value)}`);
  return value;
}

/** Returns an integer that a JavaScript number holds exactly. Throws TypeError or RangeError otherwise. */
export function integer(what: string, value: unknown): number {
  if (typeof value !== "number") throw new TypeError(`${what} is a number, not ${shown(value)}`);
  if (!Number.isSafeInteger(value)) throw new RangeError(`${what} is an integer, not ${value}`);
  return value;
}

/** Returns an integer of at most 32 bits; `undefined` is 0. Throws TypeError or RangeError otherwise. */
export function int32(what: string, value: unknown): number {
  if (value === undefined) return 0;
  const number = integer(what, value);
  if (Math.abs(number) > MAX_INT32) throw new RangeError(`${what} is at most ${MAX_INT32}, not ${number}`);
  return number;
}

/** Returns a finite number above zero. Throws TypeError or RangeError otherwise. */
export function positive(what: string, value: unknown): number {
  if (typeof value !== "number") throw new TypeError(`${what} is a number, not ${shown(value)}`);
  if (!(value > 0 && Number.isFinite(value))) throw new RangeError(`${what} is more than 0, not ${value}`);
  return value;
}

/** Returns the milliseconds of a valid `Date` since the epoch. Throws TypeError or RangeError otherwise. */
export function validTime(what: string, value: unknown): number {
  if (!(value instanceof Date)) throw new TypeError(`${what} is a Date, not ${shown(value)}`);
  const milliseconds = value.getTime();
  if (Number.isNaN(milliseconds)) throw new RangeError(`${what} is an invalid Date`);
  return milliseconds;
}

/** Returns one of `choices`, or `undefined`. Throws TypeError otherwise. */
export function choice<T extends string>(what: string, value: unknown, choices: readonly T[]): T | undefined {
  if (value === undefined || choices.includes(value as T)) return value as T | undefined;
  const known = choices.map((one) => JSON.stringify(one)).join(", ");
  throw new TypeError(`${what} is one of ${known}, not ${shown(value)}`);
}

/** Returns a short description of a value for an error. */
export function shown(value: unknown): string {
  if (typeof value === "string") {
    return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
  }
  if (typeof value === "object" && value !== null) {
    return Array.isArray(value) ? "an array" : `a ${value.constructor?.name ?? "object"}`;
  }
  return typeof value === "function" ? "a function" : String(value);
}
