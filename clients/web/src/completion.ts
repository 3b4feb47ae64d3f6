/** Completion of attributes, functions and keywords in an expression. */

import type { Table } from "dynamodb-processor-client";
import { FUNCTIONS, KEYWORDS, quoted, tokens } from "./lexer.js";

/** A word that may stand at the cursor. */
export interface Candidate {
  /** The name to show. */
  readonly label: string;
  /** The text to insert. */
  readonly text: string;
  /** What it is: `partition key`, `function`, ... */
  readonly detail: string;
}

/** The candidates at the cursor, and the place of the text that they replace. */
export interface Completion {
  readonly candidates: readonly Candidate[];
  readonly start: number;
  readonly end: number;
}

const MAX_CANDIDATES = 50;

/** Returns the attributes that are known of a table, with their part in it; keys come first. */
export function attributesOf(table: Table | null, seen: Iterable<string> = []): Map<string, string> {
  const found = new Map<string, string>();
  const note = (name: string, detail: string) => {
    if (name !== "" && !found.has(name)) found.set(name, detail);
  };
  if (table !== null) {
    noteKey(note, table.key, "");
    for (const index of table.indexes) noteKey(note, index.key, ` of ${index.name}`);
    for (const name of table.timestampAttributes) note(name, "timestamp");
    for (const name of table.requiredAttributes) note(name, "in every item");
    for (const name of table.visibleAttributes) note(name, "attribute");
    for (const index of table.indexes) for (const name of index.projectedAttributes) note(name, "attribute");
  }
  for (const name of [...seen].sort()) note(name, "seen in items");
  return found;
}

/** Returns the completion at the cursor; `isExplicit` if the user asked for it without a prefix. */
export function completionAt(
  text: string,
  cursor: number,
  attributes: ReadonlyMap<string, string>,
  isExplicit: boolean,
): Completion | null {
  const token = tokens(text).find(({ start, text: one }) => start < cursor && cursor <= start + one.length);
  const isWord = token !== undefined && ["name", "keyword", "function"].includes(token.kind);
  if (token !== undefined && ["string", "parameter", "number"].includes(token.kind)) return null;
  if (!isWord && !isExplicit) return null;
  const start = isWord ? token.start : cursor;
  const end = isWord ? token.start + token.text.length : cursor;
  // The name of a map's entry follows a point; only attributes are known.
  if (text.slice(0, start).trimEnd().endsWith(".")) return null;
  const typed = text.slice(start, cursor);
  const prefix = typed.replace(/^"/, "").toLowerCase();
  const candidates = allOf(attributes)
    .filter(({ label }) => label.toLowerCase().startsWith(prefix))
    .filter(({ text: one }) => !typed.startsWith('"') || one.startsWith('"'))
    .slice(0, MAX_CANDIDATES);
  const [first] = candidates;
  const isWhole = candidates.length === 1 && first?.text === text.slice(start, end);
  return first === undefined || (isWhole && !isExplicit) ? null : { candidates, start, end };
}

function allOf(attributes: ReadonlyMap<string, string>): Candidate[] {
  return [
    ...Array.from(attributes, ([name, detail]) => ({ label: name, text: quoted(name), detail })),
    ...FUNCTIONS.map((name) => ({ label: name, text: `${name}(`, detail: "function" })),
    ...KEYWORDS.map((name) => ({ label: name, text: name, detail: "keyword" })),
  ];
}

type Note = (name: string, detail: string) => void;

function noteKey(note: Note, key: Table["key"], suffix: string): void {
  for (const [part, attributes] of [["partition key", key.partition], ["sort key", key.sort]] as const) {
    for (const { name, template } of attributes) {
      note(name, `${part}${suffix}`);
      for (const [, field] of template.matchAll(/\{([^{}:]+)(?::[^{}]*)?\}/g)) {
        note(field ?? "", `field of the ${part}${suffix}`);
      }
    }
  }
}
