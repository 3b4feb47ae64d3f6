/** Decimal text of DynamoDB's numbers. */

import { shown } from "./checks.js";

// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html
const MAX_DIGITS = 38;
const MAX_EXPONENT = 125;
const MIN_EXPONENT = -130;

const NUMBER = /^([+-]?)(?:([0-9]+)(?:\.([0-9]*))?|\.([0-9]+))(?:[eE]([+-]?[0-9]+))?$/;

/** A DynamoDB number as decimal text, with every digit. */
export class NumberText {
  /** @param text The number, as in `number(text)`. */
  constructor(readonly text: string) {}

  /** The decimal text. */
  toString(): string {
    return this.text;
  }

  /** The decimal text: JSON numbers lose digits in most programs. */
  toJSON(): string {
    return this.text;
  }
}

/**
 * Returns a number by its decimal text, as a parameter with up to 38 digits: `number("1.50")`.
 *
 * @throws TypeError if it is not a string, RangeError if it is no number that DynamoDB has.
 */
export function number(text: string): NumberText {
  if (typeof text !== "string") throw new TypeError(`a number's text is a string, not ${shown(text)}`);
  return new NumberText(checkedNumber(text));
}

/** Returns `text` if DynamoDB has the number. Throws RangeError otherwise. */
export function checkedNumber(text: string): string {
  const parts = partsOf(text);
  if (parts === null) throw new RangeError(`${shown(text)} is not a number`);
  const magnitude = parts.power + parts.digits.length - 1;
  if (parts.digits !== "" && (magnitude > MAX_EXPONENT || magnitude < MIN_EXPONENT)) {
    throw new RangeError(`a number of magnitude 1E${magnitude} is out of DynamoDB's range`);
  }
  if (parts.digits.length > MAX_DIGITS) {
    throw new RangeError(`a number has at most ${MAX_DIGITS} digits, not ${parts.digits.length}`);
  }
  return text;
}

/** Returns the text of a JavaScript number. Throws RangeError if it may have lost digits. */
export function textOf(value: number | bigint): string {
  if (typeof value === "bigint") return checkedNumber(String(value));
  if (!Number.isFinite(value)) throw new RangeError(`DynamoDB has no number ${value}`);
  if (Number.isInteger(value) && !Number.isSafeInteger(value)) {
    throw new RangeError(
      `${value} may have lost digits, as an integer beyond 2^53: use a bigint or number("...")`,
    );
  }
  return checkedNumber(String(value));
}

/** Returns a `number` where it has every digit of the text, else the text. */
export function exactNumber(text: string): number | string {
  const value = Number(text);
  const isSafe = Number.isInteger(value) ? Number.isSafeInteger(value) : Number.isFinite(value);
  return isSafe && canonicalNumber(String(value)) === canonicalNumber(text) ? value : text;
}

/** Returns the significant digits and a power of ten, `15E-1` for `1.50`; other text as it is. */
export function canonicalNumber(text: string): string {
  const parts = partsOf(text);
  if (parts === null) return text;
  return parts.digits === "" ? "0E0" : `${parts.sign}${parts.digits}E${parts.power}`;
}

function partsOf(text: string): { sign: string; digits: string; power: number } | null {
  const match = NUMBER.exec(text);
  if (match === null) return null;
  const fraction = match[3] ?? match[4] ?? "";
  const digits = `${match[2] ?? ""}${fraction}`.replace(/^0+/, "");
  const significant = digits.replace(/0+$/, "");
  const power = Number(match[5] ?? 0) - fraction.length + digits.length - significant.length;
  return { sign: match[1] === "-" ? "-" : "", digits: significant, power };
}
