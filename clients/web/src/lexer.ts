/** The tokens of expressions, for colours and completion. The service alone decides about validity. */

/** The class of a token. */
export type TokenKind = "space" | "keyword" | "function" | "name" | "parameter" | "string" | "number" | "sign" | "other";

/** A piece of an expression; the pieces together are the whole text. */
export interface Token {
  readonly kind: TokenKind;
  readonly text: string;
  /** The place of its first UTF-16 unit, from 0. */
  readonly start: number;
}

export const KEYWORDS = ["AND", "OR", "NOT", "BETWEEN", "IN", "TRUE", "FALSE", "NULL"] as const;
export const FUNCTIONS = [
  "attribute_exists",
  "attribute_not_exists",
  "attribute_type",
  "begins_with",
  "contains",
  "size",
] as const;

const WORD = /[A-Za-z_][A-Za-z0-9_]*/y;
// As in the service's grammar; a string or quoted name may lack its end while it is typed.
const PATTERNS: readonly (readonly [TokenKind, RegExp])[] = [
  ["space", /\s+/y],
  ["string", /'(?:[^']|'')*'?/y],
  ["name", /"(?:[^"]|"")*"?/y],
  ["parameter", /:[A-Za-z0-9_]*/y],
  ["number", /[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?/y],
  ["sign", /<=|>=|<>|[=<>(),.[\]]/y],
];

/** Returns the tokens of an expression. */
export function tokens(text: string): Token[] {
  const found: Token[] = [];
  let start = 0;
  while (start < text.length) {
    const token = wordAt(text, start) ?? tokenAt(text, start);
    found.push(token);
    start += token.text.length;
  }
  return found;
}

/** Returns the names of the parameters, each once, in the order of their first use. */
export function parameterNames(text: string): string[] {
  const names = tokens(text)
    .filter(({ kind, text: token }) => kind === "parameter" && token.length > 1)
    .map((token) => token.text.slice(1));
  return [...new Set(names)];
}

/** Returns the UTF-16 place of a column of the service, which counts characters from 1. */
export function offsetOf(text: string, column: number): number {
  const characters = Array.from(text).slice(0, column - 1);
  return characters.join("").length;
}

/** Returns an attribute's name as expressions write it: quoted unless it is a plain word. */
export function quoted(name: string): string {
  const isPlain = /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) && !isKeyword(name);
  return isPlain ? name : `"${name.replaceAll('"', '""')}"`;
}

function wordAt(text: string, start: number): Token | null {
  WORD.lastIndex = start;
  const word = WORD.exec(text)?.[0];
  if (word === undefined) return null;
  if (isKeyword(word)) return { kind: "keyword", text: word, start };
  const isCall = /^\s*\(/.test(text.slice(start + word.length));
  const isFunction = isCall && (FUNCTIONS as readonly string[]).includes(word);
  return { kind: isFunction ? "function" : "name", text: word, start };
}

function tokenAt(text: string, start: number): Token {
  for (const [kind, pattern] of PATTERNS) {
    pattern.lastIndex = start;
    const token = pattern.exec(text)?.[0];
    if (token !== undefined) return { kind, text: token, start };
  }
  return { kind: "other", text: String.fromCodePoint(text.codePointAt(start) ?? 0), start };
}

function isKeyword(word: string): boolean {
  return (KEYWORDS as readonly string[]).includes(word.toUpperCase());
}
