/** Getting any number of items by their primary keys, in batches. */

import { shown } from "./checks.js";
import type { Connection, Operation } from "./connection.js";
import { QueryError } from "./errors.js";
import type { BatchGetItemsRequest, BatchGetItemsResponse } from "./gen/dynamodb_processor/v1/query_service_pb.js";
import type { Item as ItemMessage } from "./gen/dynamodb_processor/v1/value_pb.js";
import { cacheOf, NO_STATS, statsOf, sumOf, timeOf, type CacheInfo, type PageStats } from "./pages.js";
import { decodeItem, encodeKey, type InputValue, type Item, type NumberForm } from "./values.js";

const MAX_KEYS = 100; // in one call

/** A primary key: the values of its attributes by name. */
export type Key = { readonly [name: string]: InputValue };

/** The items of keys. */
export interface FoundItems<T = Item> {
  /** The item of each key, in the order of the keys; `null` for a key without an item. */
  readonly items: (T | null)[];
  /** The cost over all calls. */
  readonly stats: PageStats;
  /** When the oldest items of the first call were read; `null` if no item was read. */
  readonly readTime: Date | null;
  /** The source of the items of the first call; `null` if there was none. */
  readonly cache: CacheInfo | null;
  /** For `notBeforeToken` of later calls. */
  readonly freshnessToken: string;
}

/** Makes one call for a batch of keys; `progress` says how far the operation came. */
export type GetCall = (request: BatchGetItemsRequest, progress: string) => Promise<BatchGetItemsResponse>;

interface Asked {
  readonly index: number;
  readonly key: ItemMessage;
}

/** Returns primary keys as messages. Throws TypeError or RangeError, with the path of a wrong value. */
export function keyMessages(keys: Iterable<Key>): ItemMessage[] {
  if (typeof keys !== "object" || keys === null || !(Symbol.iterator in keys)) {
    throw new TypeError(`get() takes an array of keys, not ${shown(keys)}`);
  }
  return Array.from(keys, (key, index) => encodeKey(`keys[${index}]`, key));
}

/**
 * Returns the item of each key. Keys that the service defers are requested again.
 *
 * If a call returns only deferred keys, the next one follows after a pause. `request` has every field
 * except the keys.
 *
 * @throws QueryError if the service deferred the same keys too often, or for an error of a call.
 */
export async function getAll<T>(
  connection: Connection,
  operation: Operation,
  call: GetCall,
  request: BatchGetItemsRequest,
  keys: ItemMessage[],
  numbers: NumberForm,
): Promise<Omit<FoundItems<T>, "freshnessToken">> {
  const items: (T | null)[] = keys.map(() => null);
  let pending: Asked[] = keys.map((key, index) => ({ index, key }));
  let stats = NO_STATS;
  let readTime: Date | null = null;
  let cache: CacheInfo | null = null;
  let idle = 0;
  while (pending.length > 0) {
    const asked = pending.slice(0, MAX_KEYS);
    request.keys = asked.map((one) => one.key);
    const response = await call(request, progressOf(pending, keys));
    stats = sumOf(stats, statsOf(response.stats));
    readTime ??= timeOf(response.readTime);
    cache ??= cacheOf(response.cache);
    const deferred = storeResults(response, asked, items, numbers);
    pending = [...deferred, ...pending.slice(MAX_KEYS)];
    idle = deferred.length === asked.length ? idle + 1 : 0;
    if (idle > 0) await waitForDeferred(connection, operation, idle, progressOf(pending, keys));
  }
  return { items, stats, readTime, cache };
}

/** Stores the items, and returns the deferred keys. */
function storeResults<T>(
  response: BatchGetItemsResponse,
  asked: Asked[],
  items: (T | null)[],
  numbers: NumberForm,
): Asked[] {
  if (response.results.length !== asked.length) {
    throw new QueryError("INTERNAL", "the service left out results", { reason: "RESULTS_INCOMPLETE" });
  }
  return asked.filter(({ index }, position) => {
    const result = response.results[position]?.result;
    switch (result?.case) {
      case "item":
        items[index] = decodeItem(result.value, numbers) as T;
        return false;
      case "missingKey":
        return false;
      case "deferredKey":
        return true;
      default:
        throw new QueryError(
          "INTERNAL",
          "the service sent a result of a kind that this client does not know; update the client",
          { reason: "UNKNOWN_RESULT_KIND" },
        );
    }
  });
}

async function waitForDeferred(
  connection: Connection,
  operation: Operation,
  idle: number,
  progress: string,
): Promise<void> {
  const message = `the service keeps deferring keys; ${progress}`;
  const error = new QueryError("UNAVAILABLE", message, { reason: "KEYS_DEFERRED" });
  if (idle > connection.policy.attempts || !(await connection.pause(operation, error, idle))) throw error;
}

function progressOf(pending: unknown[], keys: unknown[]): string {
  return `${pending.length} of ${keys.length} keys were not read by then`;
}
