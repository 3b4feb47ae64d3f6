/** One query under way: its rows, its pages, its cost, and the token to continue from. */

import { QueryError, type Item, type PageEnd, type QueryClient } from "dynamodb-processor-client";
import { queryOf, streamOptionsOf, type Draft } from "./draft.js";

/** Rows that a run collects before it pauses: memory of the page has a bound. */
export const ROWS_PER_PART = 20_000;

/** The state of a run. */
export type Phase = "running" | "complete" | "stopped" | "paused" | "limited" | "failed";

/** The cost of one page, as it arrived. */
export interface PageRecord {
  readonly items: number;
  readonly readUnits: number;
  /** Milliseconds since the page before, or since the start of the run or its continuation. */
  readonly latencyMs: number;
  /** Milliseconds that the service waited for DynamoDB. */
  readonly backendMs: number;
  readonly cache: string;
  readonly end: PageEnd;
}

/** A query and all that came of it so far. */
export class Run {
  readonly draft: Draft;
  readonly rows: Item[] = [];
  readonly pages: PageRecord[] = [];
  phase: Phase = "running";
  error: unknown = null;
  readUnits = 0;
  /** Breaks from which the client continued by itself, and continuations by the user. */
  resumptions = 0;
  continuations = 0;
  indexUsed = "";
  /** The token behind the rows; empty before the first page, and at the end. */
  token = "";
  readonly #client: QueryClient;
  readonly #onChange: () => void;
  readonly #spent = new Stopwatch();
  #stop = new AbortController();

  constructor(client: QueryClient, draft: Draft, onChange: () => void) {
    this.#client = client;
    this.draft = draft;
    this.#onChange = onChange;
  }

  /** Whether the query can be continued behind the rows. */
  get canContinue(): boolean {
    return this.phase !== "running" && this.phase !== "complete" && this.token !== "";
  }

  /** Milliseconds that the run has been under way. */
  get elapsedMs(): number {
    return this.#spent.elapsedMs;
  }

  /** Reads until the end, the bound of rows, an error, or `stop`. Errors become the run's state. */
  async read(): Promise<void> {
    const bound = this.rows.length + ROWS_PER_PART;
    this.phase = "running";
    this.error = null;
    this.#stop = new AbortController();
    this.#spent.start();
    this.#onChange();
    try {
      this.phase = await this.#readUntil(bound);
    } catch (error) {
      this.phase = this.#stop.signal.aborted ? "stopped" : "failed";
      if (this.phase === "failed") this.#note(error);
    } finally {
      this.#spent.stop();
      this.#onChange();
    }
  }

  /** Continues behind the last row. */
  continue(): Promise<void> {
    this.continuations += 1;
    return this.read();
  }

  /** Ends the reading; the rows stay. */
  stop(): void {
    this.#stop.abort(new DOMException("stopped", "AbortError"));
  }

  async #readUntil(bound: number): Promise<Phase> {
    const { signal } = this.#stop;
    const options = { ...streamOptionsOf(this.draft), signal, resumeToken: this.token };
    const stream = this.#client.pages(queryOf(this.draft), options);
    const before = this.resumptions;
    let at = performance.now();
    let end: PageEnd = "EXHAUSTED";
    for await (const page of stream) {
      const now = performance.now();
      for (const item of page.items) this.rows.push(item);
      this.token = page.nextPageToken;
      this.readUnits += page.stats.readUnits;
      this.indexUsed = page.stats.indexUsed;
      this.resumptions = before + stream.resumptions;
      end = page.end;
      this.pages.push({
        items: page.items.length,
        readUnits: page.stats.readUnits,
        latencyMs: now - at,
        backendMs: page.stats.backendTimeMs,
        cache: page.cache.status,
        end,
      });
      at = now;
      this.#onChange();
      if (this.token !== "" && this.rows.length >= bound) return "paused";
    }
    return this.token === "" ? "complete" : "limited";
  }

  #note(error: unknown): void {
    this.error = error;
    if (!(error instanceof QueryError)) return;
    // The token behind an item that is too large for a message, else that behind the rows.
    this.token = error.nextPageToken || error.resumeToken || this.token;
  }
}

/** Adds up the time between starts and stops. */
class Stopwatch {
  #before = 0;
  #since: number | null = null;

  get elapsedMs(): number {
    return this.#before + (this.#since === null ? 0 : performance.now() - this.#since);
  }

  start(): void {
    this.#since ??= performance.now();
  }

  stop(): void {
    this.#before = this.elapsedMs;
    this.#since = null;
  }
}
