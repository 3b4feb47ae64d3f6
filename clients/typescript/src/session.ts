/** Sessions: reads that show their user's own writes, and that never go back in time. */

import { text, validTime } from "./checks.js";
import type { Count } from "./counts.js";
import type { FoundItems, Key } from "./gets.js";
import { ItemStream } from "./items.js";
import type { CountOptions, GetOptions, QueryOptions, StreamOptions } from "./options.js";
import type { Page } from "./pages.js";
import type { Query } from "./query.js";
import type { Reads } from "./reads.js";
import type { SessionState } from "./session_state.js";
import type { PageStream } from "./streams.js";
import type { Item } from "./values.js";

/**
 * Reads for one user or one request, in an order that makes sense to it.
 *
 * - A read begun after another one has returned shows nothing older of the same table. It may come from
 *   the cache, and from any replica.
 * - A read after `wrote` shows every write that was finished by then.
 *
 * The methods are those of `QueryClient`, with the same options. Calls may overlap. A stream that breaks
 * is resumed with the bounds of that moment. A session holds no connection: it needs no closing.
 *
 * Global indexes are read eventually, so nothing is promised for them, except where the service follows
 * the table's stream.
 */
export class Session {
  readonly #reads: Reads;
  readonly #state: SessionState;

  /** Makes a session; `QueryClient.session` is the public way. */
  constructor(reads: Reads, state: SessionState) {
    this.#reads = reads;
    this.#state = state;
  }

  /**
   * The session as text, with which `QueryClient.session` continues in another process.
   *
   * It has letters, digits, `-` and `_` alone, and is `""` if nothing was read or written. It is not signed.
   */
  get token(): string {
    return this.#state.toText();
  }

  /**
   * Has later reads of a table, or of all tables, show each write until now.
   *
   * Call it when the write has returned. `at` is the time of an earlier write, such as one that another
   * service has reported. The time is that of this machine's clock, which may be behind the service's by
   * the setting `cache_clock_skew` at most.
   *
   * @throws TypeError or RangeError for a wrong table or time.
   */
  wrote(table?: string, at?: Date): void {
    const tables = table === undefined ? [] : [text("table", table)];
    this.#state.wrote(tables, at === undefined ? undefined : validTime("at", at) * 1_000);
  }

  /** Returns one page, as `QueryClient.query` does. */
  query<T = Item>(query: Query, options: QueryOptions = {}): Promise<Page<T>> {
    return this.#reads.query<T>(query, options, this.#state);
  }

  /** Returns every page, as `QueryClient.pages` does. */
  pages<T = Item>(query: Query, options: StreamOptions = {}): PageStream<T> {
    return this.#reads.pages<T>(query, options, this.#state);
  }

  /** Returns every item, as `QueryClient.stream` does. */
  stream<T = Item>(query: Query, options: StreamOptions = {}): ItemStream<T> {
    return new ItemStream(this.pages<T>(query, options));
  }

  /** Returns how many items match, as `QueryClient.count` does. */
  count(query: Query, options: CountOptions = {}): Promise<Count> {
    return this.#reads.count(query, options, this.#state);
  }

  /** Returns the item of each primary key, as `QueryClient.get` does. */
  get<T = Item>(table: string, keys: Iterable<Key>, options: GetOptions = {}): Promise<FoundItems<T>> {
    return this.#reads.get<T>(table, keys, options, this.#state);
  }
}
