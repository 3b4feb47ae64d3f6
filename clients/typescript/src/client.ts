/** The client, with a method for each call of the service. */

import { create } from "@bufbuild/protobuf";
import type { Transport } from "@connectrpc/connect";
import { checkProperties, choice, flag, text } from "./checks.js";
import { checkOptions, CLIENT_OPTION_NAMES, Connection, type ClientOptions } from "./connection.js";
import type { Count } from "./counts.js";
import type { Explanation } from "./explanations.js";
import { TableSchema } from "./gen/dynamodb_processor/v1/catalog_service_pb.js";
import type { FoundItems, Key } from "./gets.js";
import { ItemStream } from "./items.js";
import type { CallOptions, CountOptions, GetOptions, QueryOptions, StreamOptions } from "./options.js";
import type { Page } from "./pages.js";
import type { Query } from "./query.js";
import { Reads } from "./reads.js";
import { Session } from "./session.js";
import { SessionState } from "./session_state.js";
import type { PageStream } from "./streams.js";
import { listAll, tableOf, type Table, type TableSummary } from "./tables.js";
import type { Item } from "./values.js";

/**
 * Reads DynamoDB tables through the service.
 *
 * Make one client and share it. Every method throws `TypeError` or `RangeError` for a wrong argument,
 * the reason of an aborted signal, and `QueryError` for an error of the service or the connection.
 *
 * The type parameter of methods that return items is the caller's own; nothing checks it.
 */
export class QueryClient {
  readonly #connection: Connection;
  readonly #reads: Reads;
  readonly #onClose: () => void;

  /**
   * Makes a client over a transport of `@connectrpc/connect`; see `createQueryClient` of the entry
   * points `/node` and `/web`.
   *
   * @param onClose Called by `close`, to end the connections of the transport.
   */
  constructor(transport: Transport, options: ClientOptions = {}, onClose: () => void = () => undefined) {
    checkProperties("options", options, CLIENT_OPTION_NAMES);
    this.#connection = new Connection(options);
    const numbers =
      typeof options.numbers === "function"
        ? options.numbers
        : (choice("numbers", options.numbers, ["string", "number"] as const) ?? "string");
    this.#reads = new Reads(this.#connection, transport, numbers, flag("affinity", options.affinity));
    this.#onClose = onClose;
  }

  /** Returns one page: the first, or the one at `pageToken`. */
  query<T = Item>(query: Query, options: QueryOptions = {}): Promise<Page<T>> {
    return this.#reads.query<T>(query, options, null);
  }

  /** Returns every page, from the first or from `resumeToken`, as the service reads them. */
  pages<T = Item>(query: Query, options: StreamOptions = {}): PageStream<T> {
    return this.#reads.pages<T>(query, options, null);
  }

  /** Returns every item, from the first or from `resumeToken`, as the service reads them. */
  stream<T = Item>(query: Query, options: StreamOptions = {}): ItemStream<T> {
    return new ItemStream(this.pages<T>(query, options));
  }

  /**
   * Returns how many items match: all of them, or at most `upTo`.
   *
   * A count costs as much as reading the items. Only a `budget` ends it early, with a token.
   */
  count(query: Query, options: CountOptions = {}): Promise<Count> {
    return this.#reads.count(query, options, null);
  }

  /** Returns the item of each primary key. There may be any number of keys, the same one more than once. */
  get<T = Item>(table: string, keys: Iterable<Key>, options: GetOptions = {}): Promise<FoundItems<T>> {
    return this.#reads.get<T>(table, keys, options, null);
  }

  /**
   * Returns a session: its reads show its user's own writes, and never go back in time.
   *
   * `token` is that of an earlier session, perhaps in another process, from which this one continues.
   *
   * @throws TypeError or RangeError if it is not the token of a session.
   */
  session(token?: string): Session {
    return new Session(this.#reads, new SessionState(token));
  }

  /** Returns the plan of a query without reading items. */
  explain(query: Query, options: CallOptions = {}): Promise<Explanation> {
    return this.#reads.explain(query, options);
  }

  /** Returns the tables that the credential grants, by name. */
  async tables(options: CallOptions = {}): Promise<TableSummary[]> {
    checkOptions("call", options);
    return this.#connection.run(options, (operation) =>
      listAll((pageToken, progress) =>
        this.#connection.unary(
          operation,
          (rpc) => this.#reads.catalog.listTables({ pageToken }, rpc),
          null,
          progress,
        ),
      ),
    );
  }

  /** Returns the keys, indexes and read rules of one table. */
  async table(name: string, options: CallOptions = {}): Promise<Table> {
    checkOptions("call", options);
    const table = text("name", name);
    return this.#connection.run(options, async (operation) => {
      const response = await this.#reads.describe(operation, table);
      return tableOf(response.table ?? create(TableSchema));
    });
  }

  /** Ends the connections and the calls in progress. */
  close(): void {
    this.#connection.close();
    this.#onClose();
  }
}
