/** The client, with a method for each call of the service. */

import { create } from "@bufbuild/protobuf";
import { createClient, type Client, type Transport } from "@connectrpc/connect";
import { affinityKey, getText, partitionAttribute, queryText } from "./affinity.js";
import { checkProperties, choice, flag, int32, text, texts } from "./checks.js";
import {
  checkOptions,
  CLIENT_OPTION_NAMES,
  Connection,
  type ClientOptions,
  type Operation,
} from "./connection.js";
import { countAll, type Count } from "./counts.js";
import { QueryError } from "./errors.js";
import { explanationOf, type Explanation } from "./explanations.js";
import { CatalogService, TableSchema } from "./gen/dynamodb_processor/v1/catalog_service_pb.js";
import type { QuerySpec } from "./gen/dynamodb_processor/v1/query_pb.js";
import {
  BatchGetItemsRequestSchema,
  CountItemsRequestSchema,
  QueryRequestSchema,
  QueryService,
  StreamQueryRequestSchema,
} from "./gen/dynamodb_processor/v1/query_service_pb.js";
import type { Item as ItemMessage } from "./gen/dynamodb_processor/v1/value_pb.js";
import { getAll, keyMessages, type FoundItems, type Key } from "./gets.js";
import { ItemStream } from "./items.js";
import {
  budgetMessage,
  cacheMessage,
  checkedBudget,
  totalMessage,
  type CallOptions,
  type CountOptions,
  type GetOptions,
  type QueryOptions,
  type StreamOptions,
} from "./options.js";
import { pageOf, type Page } from "./pages.js";
import { consistency, querySpec, type Query } from "./query.js";
import { PageStream } from "./streams.js";
import { listAll, tableOf, type Table, type TableSummary } from "./tables.js";
import type { Item, NumberForm } from "./values.js";

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
  readonly #numbers: NumberForm;
  readonly #hasAffinity: boolean;
  readonly #onClose: () => void;
  readonly #queries: Client<typeof QueryService>;
  readonly #catalog: Client<typeof CatalogService>;
  readonly #partitions = new Map<string, string | null>();

  /**
   * Makes a client over a transport of `@connectrpc/connect`; see `createQueryClient` of the entry
   * points `/node` and `/web`.
   *
   * @param onClose Called by `close`, to end the connections of the transport.
   */
  constructor(transport: Transport, options: ClientOptions = {}, onClose: () => void = () => undefined) {
    checkProperties("options", options, CLIENT_OPTION_NAMES);
    this.#connection = new Connection(options);
    this.#numbers =
      typeof options.numbers === "function"
        ? options.numbers
        : (choice("numbers", options.numbers, ["string", "number"] as const) ?? "string");
    this.#hasAffinity = flag("affinity", options.affinity);
    this.#onClose = onClose;
    this.#queries = createClient(QueryService, transport);
    this.#catalog = createClient(CatalogService, transport);
  }

  /** Returns one page: the first, or the one at `pageToken`. */
  async query<T = Item>(query: Query, options: QueryOptions = {}): Promise<Page<T>> {
    checkOptions("query", options);
    const spec = querySpec(query);
    const request = create(QueryRequestSchema, {
      query: spec,
      pageSize: int32("pageSize", options.pageSize),
      pageToken: text("pageToken", options.pageToken),
    });
    request.budget = budgetMessage(checkedBudget(options.budget));
    request.cache = cacheMessage(options.cache);
    request.total = totalMessage(options.total);
    return this.#connection.run(options, async (operation) => {
      const affinity = await this.#affinityOf(operation, spec);
      const response = await this.#connection.unary(operation, (rpc) => this.#queries.query(request, rpc), affinity);
      return pageOf<T>(response, response.nextPageToken, this.#numbers);
    });
  }

  /** Returns every page, from the first or from `resumeToken`, as the service reads them. */
  pages<T = Item>(query: Query, options: StreamOptions = {}): PageStream<T> {
    checkOptions("pages", options);
    const spec = querySpec(query);
    const request = create(StreamQueryRequestSchema, {
      query: spec,
      pageSize: int32("pageSize", options.pageSize),
      resumeToken: text("resumeToken", options.resumeToken),
    });
    request.cache = cacheMessage(options.cache);
    request.total = totalMessage(options.total);
    return new PageStream<T>({
      connection: this.#connection,
      request,
      budget: checkedBudget(options.budget),
      options,
      numbers: this.#numbers,
      affinity: (operation) => this.#affinityOf(operation, spec),
      open: (rest, rpc) => this.#queries.streamQuery(rest, rpc),
    });
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
  async count(query: Query, options: CountOptions = {}): Promise<Count> {
    checkOptions("count", options);
    const spec = querySpec(query);
    const budget = checkedBudget(options.budget);
    const request = create(CountItemsRequestSchema, {
      query: spec,
      pageToken: text("pageToken", options.pageToken),
    });
    request.cache = cacheMessage(options.cache);
    request.total = totalMessage(options.upTo);
    return this.#connection.run(options, async (operation) => {
      const affinity = await this.#affinityOf(operation, spec);
      const call = (one: typeof request, progress: string) =>
        this.#connection.unary(operation, (rpc) => this.#queries.countItems(one, rpc), affinity, progress);
      return countAll(operation, call, request, budget);
    });
  }

  /** Returns the item of each primary key. There may be any number of keys, the same one more than once. */
  async get<T = Item>(table: string, keys: Iterable<Key>, options: GetOptions = {}): Promise<FoundItems<T>> {
    checkOptions("get", options);
    const messages = keyMessages(keys);
    const request = create(BatchGetItemsRequestSchema, {
      table: text("table", table),
      projection: texts("projection", options.projection),
      consistency: consistency(options.consistent),
    });
    request.cache = cacheMessage(options.cache);
    return this.#connection.run(options, async (operation) => {
      const affinity = await this.#affinityOfKey(operation, table, messages[0]);
      const call = (one: typeof request, progress: string) =>
        this.#connection.unary(operation, (rpc) => this.#queries.batchGetItems(one, rpc), affinity, progress);
      return getAll<T>(this.#connection, operation, call, request, messages, this.#numbers);
    });
  }

  /** Returns the plan of a query without reading items. */
  async explain(query: Query, options: CallOptions = {}): Promise<Explanation> {
    checkOptions("call", options);
    const spec = querySpec(query);
    return this.#connection.run(options, async (operation) => {
      const affinity = await this.#affinityOf(operation, spec);
      const call = this.#connection.unary(
        operation,
        (rpc) => this.#queries.explainQuery({ query: spec }, rpc),
        affinity,
      );
      return explanationOf(await call);
    });
  }

  /** Returns the tables that the credential grants, by name. */
  async tables(options: CallOptions = {}): Promise<TableSummary[]> {
    checkOptions("call", options);
    return this.#connection.run(options, (operation) =>
      listAll((pageToken, progress) =>
        this.#connection.unary(
          operation,
          (rpc) => this.#catalog.listTables({ pageToken }, rpc),
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
      const response = await this.#describe(operation, table);
      return tableOf(response.table ?? create(TableSchema));
    });
  }

  /** Ends the connections and the calls in progress. */
  close(): void {
    this.#connection.close();
    this.#onClose();
  }

  #describe(operation: Operation, table: string) {
    return this.#connection.unary(operation, (rpc) => this.#catalog.getTable({ table }, rpc));
  }

  async #affinityOf(operation: Operation, spec: QuerySpec): Promise<string | null> {
    if (!this.#hasAffinity) return null;
    return affinityKey(spec.table, queryText(spec, await this.#partition(operation, spec.table)));
  }

  async #affinityOfKey(operation: Operation, table: string, key: ItemMessage | undefined): Promise<string | null> {
    if (!this.#hasAffinity || key === undefined) return null;
    return affinityKey(table, getText(key, await this.#partition(operation, table)));
  }

  /** Returns a table's partition key, after one call for each table. If it fails, the next read tries again. */
  async #partition(operation: Operation, table: string): Promise<string | null> {
    const known = this.#partitions.get(table);
    if (known !== undefined) return known;
    try {
      const response = await this.#describe(operation, table);
      const partition = partitionAttribute(response.table?.key);
      this.#partitions.set(table, partition);
      return partition;
    } catch (error) {
      if (error instanceof QueryError) return null;
      throw error;
    }
  }
}
