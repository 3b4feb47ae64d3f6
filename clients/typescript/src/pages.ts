/** Pages of items, with their cost and source. */

import { durationMs, timestampDate, type Timestamp } from "@bufbuild/protobuf/wkt";
import { badAnswer } from "./errors.js";
import {
  CacheStatus as CacheStatusCode,
  PageEnd as PageEndCode,
  TotalRelation,
  type CacheInfo as CacheInfoMessage,
  type PageStats as PageStatsMessage,
  type Total as TotalMessage,
} from "./gen/dynamodb_processor/v1/query_pb.js";
import type { Item as ItemMessage } from "./gen/dynamodb_processor/v1/value_pb.js";
import { decodeItem, type Item, type NumberForm } from "./values.js";

/** Why a page ends; `"UNKNOWN"` for a reason that this client does not know. */
export type PageEnd = Exclude<keyof typeof PageEndCode, "UNSPECIFIED"> | "UNKNOWN";

/**
 * The source of an answer in the service's cache. `"UNKNOWN"` if it is withheld because a row rule
 * applies, or if this client does not know it.
 */
export type CacheStatus = Exclude<keyof typeof CacheStatusCode, "UNSPECIFIED"> | "UNKNOWN";

/** The cost of an answer. All fields but the first count this call's own reads: 0 on a cache hit. */
export interface PageStats {
  /** Items in the answer. */
  readonly itemsReturned: number;
  /** Items that DynamoDB evaluated for it. */
  readonly itemsScanned: number;
  /** Read capacity units consumed. */
  readonly readUnits: number;
  /** Requests made to DynamoDB. */
  readonly backendCalls: number;
  /** Requests repeated because DynamoDB refused or failed them. */
  readonly throttleRetries: number;
  /** The index that was read; `""` for the base table, and for an index whose key is not granted. */
  readonly indexUsed: string;
  /** Milliseconds spent waiting for DynamoDB. */
  readonly backendTimeMs: number;
}

/** The source of an answer: the cache or DynamoDB. */
export interface CacheInfo {
  /** The part of the cache. */
  readonly status: CacheStatus;
  /** Milliseconds since the items were read; 0 for a fresh read. */
  readonly ageMs: number;
  /** Milliseconds until the cached answer expires; `null` if it is not stored. */
  readonly expiresInMs: number | null;
}

/** The number of items that a query matches; a lower bound if it is not exact. */
export interface Total {
  readonly value: number;
  readonly exact: boolean;
}

/** One page of a result. */
export interface Page<T = Item> {
  /** The items, in order. There may be few or none although more follow. */
  readonly items: T[];
  /** The token of the next page, for `query`, `pages` and `stream` alike; `""` only at the end. */
  readonly nextPageToken: string;
  /** Why the page ends. */
  readonly end: PageEnd;
  /** The cost of the page. */
  readonly stats: PageStats;
  /** The source of the page. */
  readonly cache: CacheInfo;
  /** When the items were read from DynamoDB; `null` if nothing was read. */
  readonly readTime: Date | null;
  /** The number of items that the whole query matches; `null` if not requested. */
  readonly total: Total | null;
  /** For `notBeforeToken` of later calls. In a stream it covers the pages before as well. */
  readonly freshnessToken: string;
}

/** The cost of nothing. */
export const NO_STATS: PageStats = {
  itemsReturned: 0,
  itemsScanned: 0,
  readUnits: 0,
  backendCalls: 0,
  throttleRetries: 0,
  indexUsed: "",
  backendTimeMs: 0,
};

/** The fields that the answers of `Query` and `StreamQuery` share. */
interface PageMessage {
  items: ItemMessage[];
  end: PageEndCode;
  stats?: PageStatsMessage | undefined;
  cache?: CacheInfoMessage | undefined;
  readTime?: Timestamp | undefined;
  total?: TotalMessage | undefined;
  freshnessToken: string;
}

/** Returns a page by its message and its token. */
export function pageOf<T>(message: PageMessage, token: string, numbers: NumberForm): Page<T> {
  return {
    items: message.items.map((item) => decodeItem(item, numbers) as T),
    nextPageToken: token,
    end: pageEndOf(message.end),
    stats: statsOf(message.stats),
    cache: cacheOf(message.cache),
    readTime: timeOf(message.readTime),
    total: totalOf(message.total),
    freshnessToken: message.freshnessToken,
  };
}

/** Returns the name of a page's end. */
export function pageEndOf(code: PageEndCode): PageEnd {
  return nameOf(PageEndCode, code) as PageEnd;
}

/** Returns the cost in a message. */
export function statsOf(stats: PageStatsMessage | undefined): PageStats {
  if (stats === undefined) return NO_STATS;
  return {
    itemsReturned: Number(stats.itemsReturned),
    itemsScanned: Number(stats.itemsScanned),
    readUnits: stats.readUnits,
    backendCalls: stats.backendCalls,
    throttleRetries: stats.throttleRetries,
    indexUsed: stats.indexUsed,
    backendTimeMs: stats.backendTime === undefined ? 0 : durationMs(stats.backendTime),
  };
}

/** Returns the cost of two answers to one query. */
export function sumOf(one: PageStats, other: PageStats): PageStats {
  return {
    itemsReturned: one.itemsReturned + other.itemsReturned,
    itemsScanned: one.itemsScanned + other.itemsScanned,
    readUnits: one.readUnits + other.readUnits,
    backendCalls: one.backendCalls + other.backendCalls,
    throttleRetries: one.throttleRetries + other.throttleRetries,
    indexUsed: other.indexUsed || one.indexUsed,
    backendTimeMs: one.backendTimeMs + other.backendTimeMs,
  };
}

/** Returns the source in a message. */
export function cacheOf(cache: CacheInfoMessage | undefined): CacheInfo {
  const { age, expiresIn } = cache ?? {};
  return {
    status: nameOf(CacheStatusCode, cache?.status ?? 0) as CacheStatus,
    ageMs: age === undefined ? 0 : durationMs(age),
    expiresInMs: expiresIn === undefined ? null : durationMs(expiresIn),
  };
}

/** Returns the time in a message. Throws QueryError if JavaScript cannot represent it. */
export function timeOf(time: Timestamp | undefined): Date | null {
  if (time === undefined) return null;
  const date = timestampDate(time);
  if (Number.isNaN(date.getTime())) throw badAnswer("the service sent a bad time");
  return date;
}

/** Returns the total in a message. */
export function totalOf(total: TotalMessage | undefined): Total | null {
  return total === undefined ? null : { value: Number(total.value), exact: total.relation === TotalRelation.EXACT };
}

/** Returns the name of an enum's value without prefix; `"UNKNOWN"` for 0 and unknown values. */
export function nameOf(names: { [code: number]: string }, code: number): string {
  return code === 0 ? "UNKNOWN" : (names[code] ?? "UNKNOWN");
}
