/** Counting: the result, and the loop over the calls that a count needs. */

import type { Operation } from "./connection.js";
import { noProgress, QueryError } from "./errors.js";
import type { OperationTokens } from "./freshness.js";
import { TotalRelation } from "./gen/dynamodb_processor/v1/query_pb.js";
import type { CountItemsRequest, CountItemsResponse } from "./gen/dynamodb_processor/v1/query_service_pb.js";
import { budgetAfter, budgetMessage, type Budget } from "./options.js";
import {
  cacheOf,
  NO_STATS,
  pageEndOf,
  statsOf,
  sumOf,
  timeOf,
  type CacheInfo,
  type PageEnd,
  type PageStats,
} from "./pages.js";
import { hasProgressed, IdleCalls, isCutByService } from "./progress.js";

/** The number of items that a query matches. */
export interface Count {
  /** The number counted. */
  readonly value: number;
  /** Whether `value` is the total; if not, it is a lower bound. */
  readonly exact: boolean;
  /** The token to continue a count that a budget ended; else `""`. */
  readonly nextPageToken: string;
  /** Why counting ended. */
  readonly end: PageEnd;
  /** The cost over all calls of the count. */
  readonly stats: PageStats;
  /** The source of the last call's answer. */
  readonly cache: CacheInfo;
  /** When counting began; `null` if nothing was read. */
  readonly readTime: Date | null;
  /** For `notBeforeToken` of later calls. */
  readonly freshnessToken: string;
}

/** Makes one call of the count; `progress` says how far it came. */
export type CountCall = (request: CountItemsRequest, progress: string) => Promise<CountItemsResponse>;

/**
 * Returns the count, with a further call where the service's time limit ended the last one.
 *
 * @throws QueryError whose `resumeToken` continues the count.
 */
export async function countAll(
  operation: Operation,
  call: CountCall,
  request: CountItemsRequest,
  budget: Budget | undefined,
  tokens: OperationTokens,
): Promise<Count> {
  const { deadline } = operation;
  const idleCalls = new IdleCalls();
  let stats = NO_STATS;
  let readTime: Date | null = null;
  let progress = "";
  let counted = 0;
  for (;;) {
    const left = budget && budgetAfter(budget, stats, deadline.elapsedMs);
    request.budget = budgetMessage(left ?? undefined);
    const began = deadline.elapsedMs;
    const response = await call(request, progress).catch((error: unknown) => {
      if (error instanceof QueryError) error.resumeToken = request.pageToken;
      throw error;
    });
    const itsStats = statsOf(response.stats);
    stats = sumOf(stats, itsStats);
    readTime ??= timeOf(response.readTime);
    const before = request.pageToken;
    const token = (request.pageToken = response.nextPageToken);
    const value = Number(response.total?.value ?? 0);
    const isSpent = budget !== undefined && budgetAfter(budget, stats, deadline.elapsedMs) === null;
    if (isSpent || !isCutByService(response.end, token, budget)) {
      return {
        value,
        exact: response.total?.relation === TotalRelation.EXACT,
        nextPageToken: token,
        end: pageEndOf(response.end),
        stats,
        cache: cacheOf(response.cache),
        readTime,
        freshnessToken: tokens.text,
      };
    }
    if (before === token) throw noProgress("a count returned the token of its own request");
    const isFurther = hasProgressed(before, token, itsStats, deadline.elapsedMs - began);
    idleCalls.record(isFurther || value > counted);
    counted = value;
    progress = `${value} items were counted by then`;
  }
}
