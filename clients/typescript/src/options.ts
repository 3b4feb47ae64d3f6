/** The options of calls, and their messages. */

import { create } from "@bufbuild/protobuf";
import { DurationSchema, timestampFromMs, type Duration } from "@bufbuild/protobuf/wkt";
import { checkProperties, choice, integer, positive, shown, text, validTime } from "./checks.js";
import {
  BudgetSchema,
  CacheMode,
  CachePolicySchema,
  TotalMode,
  TotalOptionsSchema,
  type Budget as BudgetMessage,
  type CachePolicy as CachePolicyMessage,
  type TotalOptions,
} from "./gen/dynamodb_processor/v1/query_pb.js";
import type { PageStats } from "./pages.js";

/** The options of every call. */
export interface CallOptions {
  /**
   * Milliseconds until the deadline; `null` for none. It covers all calls that an operation needs,
   * and a whole stream. Default: that of the client.
   */
  readonly timeoutMs?: number | null | undefined;
  /** Ends the operation, which then throws the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** Limits on the cost of one call. A page or stream that reaches one ends with a token. */
export interface Budget {
  /** Items that DynamoDB evaluates; 1 or more. */
  readonly maxScannedItems?: number | undefined;
  /** Read capacity units; more than 0. The last read may exceed the limit. */
  readonly maxReadUnits?: number | undefined;
  /** Milliseconds spent reading; more than 0. */
  readonly maxDurationMs?: number | undefined;
}

/** Whether a call may use cached answers, and how old they may be. */
export interface CachePolicy {
  /** `"only-if-cached"` fails where there is no cached answer; `"refresh"` reads and stores. */
  readonly mode?: "default" | "bypass" | "refresh" | "only-if-cached" | undefined;
  /** Maximum age of a cached answer in milliseconds. Default: the table's own limit. */
  readonly maxStalenessMs?: number | undefined;
  /** The answer shows every write that was finished before this time. */
  readonly notBefore?: Date | undefined;
  /** The `freshnessToken` of an earlier answer: this one shows nothing older. Dots join several. */
  readonly notBeforeToken?: string | undefined;
}

/** The options of calls that return items or a count. */
export interface ReadOptions extends CallOptions {
  /** Limits on the cost. */
  readonly budget?: Budget | undefined;
  /** Use of cached answers. */
  readonly cache?: CachePolicy | undefined;
}

/** The options of `QueryClient.query`. */
export interface QueryOptions extends ReadOptions {
  /** Items per page; 0 for the table's default. */
  readonly pageSize?: number | undefined;
  /** The token of the page before; `""` for the first page. */
  readonly pageToken?: string | undefined;
  /** Counts all matching items as well: `"exact"`, or a number at which counting stops. */
  readonly total?: "exact" | number | undefined;
}

/** The options of `QueryClient.pages` and `QueryClient.stream`. */
export interface StreamOptions extends ReadOptions {
  /** Items per page; 0 for the table's default. */
  readonly pageSize?: number | undefined;
  /** The token to continue from; `""` for the beginning. */
  readonly resumeToken?: string | undefined;
  /** Counts all matching items as well: `"exact"`, or a number at which counting stops. */
  readonly total?: "exact" | number | undefined;
}

/** The options of `QueryClient.count`. */
export interface CountOptions extends ReadOptions {
  /** The number at which counting stops. */
  readonly upTo?: number | undefined;
  /** The token of a count that a budget ended. */
  readonly pageToken?: string | undefined;
}

/** The options of `QueryClient.get`. */
export interface GetOptions extends CallOptions {
  /** Document paths of the attributes to return; all if absent or empty. */
  readonly projection?: readonly string[] | undefined;
  /** Whether to read consistently. */
  readonly consistent?: boolean | undefined;
  /** The cached items that are accepted. */
  readonly cache?: CachePolicy | undefined;
}

const CALL = ["timeoutMs", "signal"] as const;
const READ = [...CALL, "budget", "cache"] as const;

/** The names of the options of each method. */
export const OPTION_NAMES = {
  call: CALL,
  query: [...READ, "pageSize", "pageToken", "total"],
  pages: [...READ, "pageSize", "resumeToken", "total"],
  count: [...READ, "upTo", "pageToken"],
  get: [...CALL, "projection", "consistent", "cache"],
} as const;

const CACHE_MODES = {
  default: CacheMode.DEFAULT,
  bypass: CacheMode.BYPASS,
  refresh: CacheMode.REFRESH,
  "only-if-cached": CacheMode.ONLY_IF_CACHED,
} as const;
const CACHE_MODE_NAMES = Object.keys(CACHE_MODES) as (keyof typeof CACHE_MODES)[];

/** Returns a budget if it is one. Throws TypeError or RangeError otherwise. */
export function checkedBudget(budget: Budget | undefined): Budget | undefined {
  if (budget === undefined) return undefined;
  checkProperties("budget", budget, ["maxScannedItems", "maxReadUnits", "maxDurationMs"]);
  // The rest of a stream or count cannot be requested with a limit of 0.
  for (const [name, limit] of Object.entries(budget)) {
    if (limit !== undefined) positive(`budget.${name}`, limit);
  }
  if (budget.maxScannedItems !== undefined) integer("budget.maxScannedItems", budget.maxScannedItems);
  return budget;
}

/** Returns a budget as a message. */
export function budgetMessage(budget: Budget | undefined): BudgetMessage | undefined {
  if (budget === undefined) return undefined;
  const message = create(BudgetSchema);
  if (budget.maxScannedItems !== undefined) message.maxScannedItems = BigInt(budget.maxScannedItems);
  if (budget.maxReadUnits !== undefined) message.maxReadUnits = budget.maxReadUnits;
  if (budget.maxDurationMs !== undefined) message.maxDuration = duration(budget.maxDurationMs);
  return message;
}

/**
 * Returns the remaining budget for a further call; `null` if a limit is reached.
 *
 * The service counts the cost of each call, so that of earlier calls is subtracted here.
 */
export function budgetAfter(budget: Budget, spent: PageStats, elapsedMs: number): Budget | null {
  const left = {
    maxScannedItems: minus(budget.maxScannedItems, spent.itemsScanned),
    maxReadUnits: minus(budget.maxReadUnits, spent.readUnits),
    maxDurationMs: minus(budget.maxDurationMs, elapsedMs),
  };
  return Object.values(left).some((one) => one !== undefined && one <= 0) ? null : left;
}

/** Returns a cache policy as a message. Throws TypeError or RangeError if it is none. */
export function cacheMessage(policy: CachePolicy | undefined): CachePolicyMessage | undefined {
  if (policy === undefined) return undefined;
  checkProperties("cache", policy, ["mode", "maxStalenessMs", "notBefore", "notBeforeToken"]);
  const message = create(CachePolicySchema, { notBeforeToken: text("cache.notBeforeToken", policy.notBeforeToken) });
  const mode = choice("cache.mode", policy.mode, CACHE_MODE_NAMES);
  if (mode !== undefined) message.mode = CACHE_MODES[mode];
  if (policy.maxStalenessMs !== undefined) {
    const age = policy.maxStalenessMs;
    if (age !== 0) positive("cache.maxStalenessMs", age);
    message.maxStaleness = duration(age);
  }
  if (policy.notBefore !== undefined) {
    message.notBefore = timestampFromMs(validTime("cache.notBefore", policy.notBefore));
  }
  return message;
}

/** Returns the option `total` as a message. Throws TypeError or RangeError if it is none. */
export function totalMessage(total: "exact" | number | undefined): TotalOptions | undefined {
  if (total === undefined) return undefined;
  if (total === "exact") return create(TotalOptionsSchema, { mode: TotalMode.EXACT });
  if (typeof total !== "number") {
    throw new TypeError(`total is "exact" or a number to count up to, not ${shown(total)}`);
  }
  return create(TotalOptionsSchema, { mode: TotalMode.BOUNDED, upTo: BigInt(integer("total", total)) });
}

function minus(limit: number | undefined, spent: number): number | undefined {
  return limit === undefined ? undefined : limit - spent;
}

function duration(milliseconds: number): Duration {
  const seconds = Math.floor(milliseconds / 1000);
  const nanos = Math.round((milliseconds - seconds * 1000) * 1e6);
  return create(DurationSchema, { seconds: BigInt(seconds), nanos: Math.min(nanos, 999_999_999) });
}
