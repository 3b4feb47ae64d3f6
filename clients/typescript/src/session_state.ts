/**
 * The state of a session: the freshness tokens of its answers, and the times of its user's writes.
 *
 * A token covers the tokens that its call was sent with: its answer shows nothing older than theirs. So
 * it replaces them. Clients cannot compare the tokens of calls that overlapped, so they keep them all,
 * and the next call sends them all.
 */

import { base64Decode, base64Encode } from "@bufbuild/protobuf/wire";
import { text } from "./checks.js";

/** Tokens of answers that overlapped, at most, for one table. The service accepts 100 in a request. */
export const MAX_TOKENS = 50;

/** What the next read of a table has to respect. */
export interface Bounds {
  readonly tokens: readonly string[];
  /** The time of the last write, in microseconds since the epoch; `null` for none. */
  readonly written: number | null;
}

const ALL_TABLES = "";
const MAX_TEXT = 65_536;
const TOKEN = /^[A-Za-z0-9_-]+$/;
const BASE64_URL = /^[A-Za-z0-9_-]+$/;

/** Returns tokens with that of an answer, and without those that it covers. */
export function withAnswer(tokens: readonly string[], covered: readonly string[], token: string): string[] {
  return [...tokens.filter((one) => one !== token && !covered.includes(one)), token];
}

/** Tokens by table, and the time of the last write by table. */
export class SessionState {
  readonly #now: () => number;
  readonly #tokens: Map<string, readonly string[]>;
  readonly #written: Map<string, number>;
  readonly #shown = new Map<string, number>();

  /**
   * Begins with nothing, or with the text of another session. `now` returns microseconds since the epoch.
   *
   * @throws TypeError if the text is no string, RangeError if it does not come from `toText`.
   */
  constructor(token: string | undefined, now: () => number = () => Date.now() * 1_000) {
    this.#now = now;
    const data = text("token", token);
    [this.#tokens, this.#written] = data === "" ? [new Map(), new Map()] : decoded(data);
  }

  /** Returns the bounds of the next read of a table. */
  bounds(table: string): Bounds {
    const times = [this.#written.get(table), this.#written.get(ALL_TABLES)].filter((time) => time !== undefined);
    const written = Math.max(...times); // -Infinity for none
    return {
      tokens: this.#tokens.get(table) ?? [],
      written: written === -Infinity || this.#isShown(table, written) ? null : written,
    };
  }

  /**
   * Records the token of an answer to a call that was sent with the tokens `covered`.
   *
   * The answer shows every write before `shown`, and so do the answers that the token leads to.
   */
  record(table: string, covered: readonly string[], token: string, shown: number | null = null): void {
    if (shown !== null && !this.#isShown(table, shown)) this.#shown.set(table, shown);
    const tokens = withAnswer(this.#tokens.get(table) ?? [], covered, token);
    const isTooMany = tokens.length > MAX_TOKENS;
    this.#tokens.set(table, isTooMany ? [] : tokens);
    if (isTooMany) this.#replaceByTime(table); // All answers so far were read before this moment.
  }

  /** Records a write, by default one that has just finished; no table means all tables. */
  wrote(tables: readonly string[], at?: number): void {
    for (const table of tables.length === 0 ? [ALL_TABLES] : tables) this.#write(table, at ?? this.#moment(table));
  }

  /** Replaces tokens by the current time, which is later than their answers. */
  forget(table: string, tokens: readonly string[]): void {
    const kept = this.#tokens.get(table) ?? [];
    this.#tokens.set(table, kept.filter((one) => !tokens.includes(one)));
    this.#replaceByTime(table);
  }

  /** Returns the state as text of letters, digits, `-` and `_`; `""` if there is nothing. */
  toText(): string {
    const tokens = sorted([...this.#tokens].filter(([, kept]) => kept.length > 0));
    const written = sorted([...this.#written].filter(([table, time]) => !this.#isShown(table, time)));
    if (tokens.length === 0 && written.length === 0) return "";
    const data = `{"tokens":${objectText(tokens)},"written":${objectText(written)}}`;
    return base64Encode(new TextEncoder().encode(data), "url");
  }

  #isShown(table: string, time: number): boolean {
    return time <= (this.#shown.get(table) ?? -Infinity);
  }

  #replaceByTime(table: string): void {
    this.#shown.delete(table); // A token showed it.
    this.#write(table, this.#moment(table));
  }

  /**
   * Returns a time for what has just happened: later than those before, in a table or in all.
   *
   * An answer may have shown those, but not what came after it. A clock may stand still for up to 0.1 s,
   * and times of other services may be ahead of it.
   */
  #moment(table: string): number {
    const names = table === ALL_TABLES ? [...this.#written.keys()] : [table, ALL_TABLES];
    const before = names.map((name) => this.#written.get(name)).filter((time) => time !== undefined);
    return Math.max(this.#now(), ...before.map((time) => time + 1));
  }

  #write(table: string, time: number): void {
    this.#written.set(table, Math.max(time, this.#written.get(table) ?? time));
  }
}

function sorted<V>(entries: [string, V][]): [string, V][] {
  return entries.sort(([one], [other]) => (one < other ? -1 : 1));
}

/** Returns an object as JSON. `JSON.stringify` would put names such as `7` first. */
function objectText(entries: [string, unknown][]): string {
  return `{${entries.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`).join(",")}}`;
}

function decoded(data: string): [Map<string, readonly string[]>, Map<string, number>] {
  if (data.length <= MAX_TEXT && BASE64_URL.test(data)) {
    try {
      const bytes = base64Decode(data);
      const state: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
      return [
        new Map(entries(state, "tokens").map(([table, kept]) => [table, tokensOf(kept)])),
        new Map(entries(state, "written").map(([table, time]) => [table, timeOf(time)])),
      ];
    } catch {
      // One error for all that may be wrong with it.
    }
  }
  throw new RangeError("this is not the token of a session: begin one without a token");
}

function entries(state: unknown, name: string): [string, unknown][] {
  const found = isObject(state) ? state[name] : undefined;
  if (!isObject(found)) throw new RangeError(name);
  return Object.entries(found);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function tokensOf(kept: unknown): string[] {
  const isValid = Array.isArray(kept) && kept.length <= MAX_TOKENS;
  if (!isValid || !kept.every((one) => typeof one === "string" && TOKEN.test(one))) throw new RangeError("tokens");
  return kept as string[];
}

function timeOf(time: unknown): number {
  if (!Number.isSafeInteger(time)) throw new RangeError("written");
  return time as number;
}
