/** Detects operations without progress among those that follow the tokens of their calls. */

import { noProgress } from "./errors.js";
import { PageEnd } from "./gen/dynamodb_processor/v1/query_pb.js";
import type { Budget } from "./options.js";
import type { PageStats } from "./pages.js";

const IDLE_CALLS = 5;
// An answer that took so many milliseconds is not a busy loop; its cost may be withheld.
const LONG_MS = 1_000;

/** Tells whether an answer without items made progress: a new token, after reads or a second. */
export function hasProgressed(before: string, after: string, stats: PageStats, elapsedMs: number): boolean {
  const hasRead = stats.itemsScanned > 0 || stats.readUnits > 0 || stats.backendCalls > 0;
  return after !== before && (hasRead || elapsedMs >= LONG_MS);
}

/**
 * Tells whether a call ended only because of the service's time limit for one call.
 *
 * Then the client continues with `token`. A `maxDurationMs` of the caller ends a call in the same
 * way, but for good.
 */
export function isCutByService(end: PageEnd, token: string, budget: Budget | undefined): boolean {
  return token !== "" && end === PageEnd.TIME_BUDGET && budget?.maxDurationMs === undefined;
}

/** Counts consecutive calls without progress. */
export class IdleCalls {
  #count = 0;

  /** Records a call. Throws QueryError if too many consecutive calls made no progress. */
  record(progressed: boolean): void {
    this.#count = progressed ? 0 : this.#count + 1;
    if (this.#count > IDLE_CALLS) throw noProgress(`${this.#count} calls in a row without progress`);
  }
}
