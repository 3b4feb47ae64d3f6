/** The calls that read items, of a client alone or in a session. */

import { create } from "@bufbuild/protobuf";
import { createClient, type Client, type Transport } from "@connectrpc/connect";
import { affinityKey, getText, partitionAttribute, queryText } from "./affinity.js";
import { int32, text, texts } from "./checks.js";
import { checkOptions, type Connection, type Operation } from "./connection.js";
import { countAll, type Count } from "./counts.js";
import { QueryError } from "./errors.js";
import { explanationOf, type Explanation } from "./explanations.js";
import { OperationTokens } from "./freshness.js";
import { CatalogService } from "./gen/dynamodb_processor/v1/catalog_service_pb.js";
import type { CachePolicy, QuerySpec } from "./gen/dynamodb_processor/v1/query_pb.js";
import {
  BatchGetItemsRequestSchema,
  CountItemsRequestSchema,
  QueryRequestSchema,
  QueryService,
  StreamQueryRequestSchema,
} from "./gen/dynamodb_processor/v1/query_service_pb.js";
import type { Item as ItemMessage } from "./gen/dynamodb_processor/v1/value_pb.js";
import { getAll, keyMessages, type FoundItems, type Key } from "./gets.js";
import {
  budgetMessage,
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
import type { SessionState } from "./session_state.js";
import { PageStream } from "./streams.js";
import type { NumberForm } from "./values.js";

/** Makes the calls of `QueryClient` and `Session`, whose methods have the same names. */
export class Reads {
  readonly connection: Connection;
  readonly catalog: Client<typeof CatalogService>;
  readonly #queries: Client<typeof QueryService>;
  readonly #numbers: NumberForm;
  readonly #hasAffinity: boolean;
  readonly #partitions = new Map<string, string | null>();

  constructor(connection: Connection, transport: Transport, numbers: NumberForm, hasAffinity: boolean) {
    this.connection = connection;
    this.catalog = createClient(CatalogService, transport);
    this.#queries = createClient(QueryService, transport);
    this.#numbers = numbers;
    this.#hasAffinity = hasAffinity;
  }

  /** Returns one page. */
  async query<T>(query: Query, options: QueryOptions, session: SessionState | null): Promise<Page<T>> {
    checkOptions("query", options);
    const spec = querySpec(query);
    const request = create(QueryRequestSchema, {
      query: spec,
      pageSize: int32("pageSize", options.pageSize),
      pageToken: text("pageToken", options.pageToken),
    });
    request.budget = budgetMessage(checkedBudget(options.budget));
    request.total = totalMessage(options.total);
    const tokens = new OperationTokens(options.cache, session, spec.table);
    return this.connection.run(options, async (operation) => {
      const affinity = await this.#affinityOf(operation, spec);
      const response = await withBounds(tokens, request, () =>
        this.connection.unary(operation, (rpc) => this.#queries.query(request, rpc), affinity),
      );
      return pageOf<T>(response, response.nextPageToken, this.#numbers);
    });
  }

  /** Returns every page. */
  pages<T>(query: Query, options: StreamOptions, session: SessionState | null): PageStream<T> {
    checkOptions("pages", options);
    const spec = querySpec(query);
    const request = create(StreamQueryRequestSchema, {
      query: spec,
      pageSize: int32("pageSize", options.pageSize),
      resumeToken: text("resumeToken", options.resumeToken),
    });
    request.total = totalMessage(options.total);
    return new PageStream<T>({
      connection: this.connection,
      request,
      tokens: new OperationTokens(options.cache, session, spec.table),
      budget: checkedBudget(options.budget),
      options,
      numbers: this.#numbers,
      affinity: (operation) => this.#affinityOf(operation, spec),
      open: (rest, rpc) => this.#queries.streamQuery(rest, rpc),
    });
  }

  /** Returns how many items match. */
  async count(query: Query, options: CountOptions, session: SessionState | null): Promise<Count> {
    checkOptions("count", options);
    const spec = querySpec(query);
    const budget = checkedBudget(options.budget);
    const request = create(CountItemsRequestSchema, {
      query: spec,
      pageToken: text("pageToken", options.pageToken),
    });
    request.total = totalMessage(options.upTo);
    const tokens = new OperationTokens(options.cache, session, spec.table);
    return this.connection.run(options, async (operation) => {
      const affinity = await this.#affinityOf(operation, spec);
      const call = (one: typeof request, progress: string) =>
        withBounds(tokens, one, () =>
          this.connection.unary(operation, (rpc) => this.#queries.countItems(one, rpc), affinity, progress),
        );
      return countAll(operation, call, request, budget, tokens);
    });
  }

  /** Returns the item of each primary key. */
  async get<T>(
    table: string,
    keys: Iterable<Key>,
    options: GetOptions,
    session: SessionState | null,
  ): Promise<FoundItems<T>> {
    checkOptions("get", options);
    const messages = keyMessages(keys);
    const request = create(BatchGetItemsRequestSchema, {
      table: text("table", table),
      projection: texts("projection", options.projection),
      consistency: consistency(options.consistent),
    });
    const tokens = new OperationTokens(options.cache, session, table);
    return this.connection.run(options, async (operation) => {
      const affinity = await this.#affinityOfKey(operation, table, messages[0]);
      const call = (one: typeof request, progress: string) =>
        withBounds(tokens, one, () =>
          this.connection.unary(operation, (rpc) => this.#queries.batchGetItems(one, rpc), affinity, progress),
        );
      const found = await getAll<T>(this.connection, operation, call, request, messages, this.#numbers);
      return { ...found, freshnessToken: tokens.text };
    });
  }

  /** Returns the plan of a query. */
  async explain(query: Query, options: CallOptions): Promise<Explanation> {
    checkOptions("call", options);
    const spec = querySpec(query);
    return this.connection.run(options, async (operation) => {
      const affinity = await this.#affinityOf(operation, spec);
      const call = this.connection.unary(
        operation,
        (rpc) => this.#queries.explainQuery({ query: spec }, rpc),
        affinity,
      );
      return explanationOf(await call);
    });
  }

  /** Returns the description of a table. */
  describe(operation: Operation, table: string) {
    return this.connection.unary(operation, (rpc) => this.catalog.getTable({ table }, rpc));
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
      const response = await this.describe(operation, table);
      const partition = partitionAttribute(response.table?.key);
      this.#partitions.set(table, partition);
      return partition;
    } catch (error) {
      if (error instanceof QueryError) return null;
      throw error;
    }
  }
}

/** Makes a call with the bounds of its operation; again without a session's tokens if they are unreadable. */
async function withBounds<R extends { freshnessToken: string }>(
  tokens: OperationTokens,
  request: { cache?: CachePolicy | undefined },
  call: () => Promise<R>,
): Promise<R> {
  for (;;) {
    request.cache = tokens.policy();
    try {
      const response = await call();
      tokens.record(response.freshnessToken);
      return response;
    } catch (error) {
      if (!tokens.replaceUnreadable(error)) throw error;
    }
  }
}
