/** Makes the calls of the conformance kit (tests/cases/contract) and compares the results. */

import { fromJson, type DescMessage, type JsonObject, type JsonValue, type MessageShape } from "@bufbuild/protobuf";
import { createClient, type Transport } from "@connectrpc/connect";
import { queryError } from "../src/errors.js";
import { GetTableRequestSchema } from "../src/gen/dynamodb_processor/v1/catalog_service_pb.js";
import { Consistency, TotalMode } from "../src/gen/dynamodb_processor/v1/query_pb.js";
import {
  BatchGetItemsRequestSchema,
  CountItemsRequestSchema,
  ExplainQueryRequestSchema,
  QueryRequestSchema,
  QueryService,
  StreamQueryRequestSchema,
} from "../src/gen/dynamodb_processor/v1/query_service_pb.js";
import {
  number,
  QueryError,
  type ClientOptions,
  type Count,
  type Explanation,
  type FoundItems,
  type Item,
  type ItemStream,
  type Page,
  type PageStream,
  type QueryClient,
  type Session,
  type Table,
  type TableSummary,
  type Total,
} from "../src/index.js";
import { inputs, limits, pageOptions, queryOf } from "./conformance_requests.js";
import { same, typedItem, typedJson, typedValue } from "./typed.js";

/** One case; tests/cases/contract/README.md describes the fields. */
export interface Case {
  readonly name: string;
  readonly call: "query" | "pages" | "stream" | "count" | "get" | "explain" | "tables" | "table";
  readonly request: JsonObject;
  readonly expect: Record<string, JsonValue>;
  readonly caller?: string;
  readonly timeout?: number;
  readonly tokenFrom?: string;
  readonly follow?: boolean;
  readonly resume?: boolean;
  readonly repeat?: number;
  readonly raw?: boolean;
  readonly session?: boolean;
}

/** The server's callers and expired tokens. */
export interface KitServer {
  readonly callers: Record<string, { apiKey?: string; token?: string }>;
  readonly tokens: Record<string, string>;
}

/** The platform that the client runs on. */
export interface Platform {
  readonly transport: Transport;
  readonly client: (options: ClientOptions) => QueryClient;
}

/** The number of cases that ran, and the failures by the name of the case. */
export interface Report {
  ran: number;
  failed: Record<string, string>;
}

/** The pages or items of a case, and the state after them. */
interface Collected {
  readonly pages: Page[];
  readonly items: Item[];
  readonly token: string;
  readonly total: Total | null;
  readonly freshnessToken: string;
}

/** The methods that a client and a session share. */
type Reads = Pick<QueryClient, "query" | "pages" | "stream" | "count" | "get"> | Session;

const CASE_FIELDS = [
  "name", "call", "request", "expect", "caller", "timeout", "tokenFrom", "follow", "resume", "repeat", "raw",
  "session",
];

/** Runs every case, one after the other: some say how an earlier one was cached. */
export async function runKit(cases: Case[], server: KitServer, platform: Platform): Promise<Report> {
  const report: Report = { ran: 0, failed: {} };
  const runner = new Runner(server, platform);
  for (const one of cases) {
    try {
      await runner.run(one);
    } catch (error) {
      report.failed[one.name] = error instanceof Error ? `${error}` : JSON.stringify(error);
    }
    report.ran += 1;
  }
  runner.close();
  return report;
}

class Runner {
  readonly #clients = new Map<string, QueryClient>();

  constructor(
    readonly server: KitServer,
    readonly platform: Platform,
  ) {}

  async run(one: Case): Promise<void> {
    for (const field of Object.keys(one)) check(CASE_FIELDS.includes(field), `unknown field ${field}`);
    const client = this.#client(one);
    const reads = one.session === true ? client.session() : client;
    let outcome: unknown;
    try {
      for (let left = one.repeat ?? 1; left > 0; left -= 1) outcome = await this.#call(one, client, reads);
    } catch (error) {
      outcome = error;
    }
    checkOutcome(one, outcome);
    if (one.resume === true) await this.#checkResumption(one, outcome as Collected);
  }

  close(): void {
    for (const client of this.#clients.values()) client.close();
  }

  #client(one: Case): QueryClient {
    const caller = one.caller ?? "reader";
    let client = this.#clients.get(caller);
    if (client === undefined) {
      const sleep = () => Promise.resolve();
      client = this.platform.client({ ...this.server.callers[caller], numbers: number, resume: { sleep } });
      this.#clients.set(caller, client);
    }
    return client;
  }

  async #call(one: Case, client: QueryClient, reads: Reads): Promise<unknown> {
    if (one.raw === true) return this.#callRaw(one);
    const options = one.timeout === undefined ? {} : { timeoutMs: one.timeout * 1000 };
    switch (one.call) {
      case "tables":
        return client.tables(options);
      case "table":
        return client.table(read(GetTableRequestSchema, one).table, options);
      case "explain":
        return client.explain(queryOf(one, read(ExplainQueryRequestSchema, one).query), options);
      case "get": {
        const request = read(BatchGetItemsRequestSchema, one);
        const { table, projection } = request;
        const keys = (one.request["keys"] as { attributes: JsonObject }[]).map(({ attributes }) => inputs(attributes));
        const consistent = request.consistency === Consistency.STRONG;
        return reads.get(table, keys, { projection, consistent, cache: limits(request).cache, ...options });
      }
      case "count":
        return this.#count(one, reads, options);
      case "query":
        return this.#query(one, reads, options);
      default:
        return this.#collect(one, reads, options);
    }
  }

  async #callRaw(one: Case): Promise<unknown> {
    const { apiKey = "" } = this.server.callers[one.caller ?? "reader"] ?? {};
    const stub = createClient(QueryService, this.platform.transport);
    const headers = { "x-api-key": apiKey };
    try {
      if (one.call === "count") return await stub.countItems(read(CountItemsRequestSchema, one), { headers });
      check(one.call === "query", `no raw ${one.call}`);
      return await stub.query(read(QueryRequestSchema, one), { headers });
    } catch (error) {
      throw queryError(error);
    }
  }

  async #count(one: Case, client: Reads, options: object): Promise<Count> {
    const request = read(CountItemsRequestSchema, one);
    const upTo = request.total?.mode === TotalMode.BOUNDED ? Number(request.total.upTo) : undefined;
    let pageToken = this.#token(one) ?? request.pageToken;
    for (;;) {
      const query = queryOf(one, request.query);
      const count = await client.count(query, { pageToken, upTo, ...limits(request), ...options });
      pageToken = count.nextPageToken;
      if (pageToken === "" || one.follow !== true) return count;
    }
  }

  async #query(one: Case, client: Reads, options: object): Promise<Collected> {
    const request = read(QueryRequestSchema, one);
    const pages: Page[] = [];
    let pageToken = this.#token(one) ?? request.pageToken;
    do {
      const query = queryOf(one, request.query);
      pages.push(await client.query(query, { pageToken, ...pageOptions(request), ...options }));
      pageToken = pages.at(-1)!.nextPageToken;
    } while (pageToken !== "" && one.follow === true);
    const { total, freshnessToken } = pages.at(-1)!;
    return { pages, items: pages.flatMap((page) => page.items), token: pageToken, total, freshnessToken };
  }

  async #collect(one: Case, client: Reads, options: object): Promise<Collected> {
    const request = read(StreamQueryRequestSchema, one);
    const resumeToken = this.#token(one) ?? request.resumeToken;
    const query = queryOf(one, request.query);
    const all = { resumeToken, ...pageOptions(request), ...options };
    const pages: Page[] = [];
    const items: Item[] = [];
    if (one.call === "pages") {
      const stream = client.pages(query, all);
      for await (const page of stream) pages.push(page);
      items.push(...pages.flatMap((page) => page.items));
      return { pages, items, ...stateOf(stream) };
    }
    const stream = client.stream(query, all);
    for await (const item of stream) items.push(item);
    return { pages, items, ...stateOf(stream) };
  }

  async #checkResumption(one: Case, { pages }: Collected): Promise<void> {
    const client = this.#client(one);
    const request = read(StreamQueryRequestSchema, one);
    const query = queryOf(one, request.query);
    for (const [index, { nextPageToken }] of pages.entries()) {
      if (nextPageToken === "") continue;
      const rest = pages.slice(index + 1).flatMap((page) => page.items).map(typedItem);
      const streamed: string[] = [];
      const options = { resumeToken: nextPageToken, ...pageOptions(request) };
      for await (const page of client.pages(query, options)) streamed.push(...page.items.map(typedItem));
      same(streamed, rest, `pages after page ${index + 1}`);
      const queried: string[] = [];
      for (let pageToken = nextPageToken; pageToken !== ""; ) {
        const page = await client.query(query, { pageToken, ...pageOptions(request) });
        queried.push(...page.items.map(typedItem));
        // Later boundaries check the tokens that follow.
        pageToken = index === 0 ? page.nextPageToken : "";
      }
      const expected = index === 0 ? rest : rest.slice(0, Math.max(queried.length, 1));
      same(queried, expected, `query after page ${index + 1}`);
    }
  }

  #token(one: Case): string | undefined {
    return one.tokenFrom === undefined ? undefined : this.server.tokens[one.tokenFrom];
  }
}

/** Returns the state of a stream after its last result. */
function stateOf({ resumeToken, total, freshnessToken }: PageStream | ItemStream) {
  return { token: resumeToken, total, freshnessToken };
}

function read<S extends DescMessage>(schema: S, one: Case): MessageShape<S> {
  return fromJson(schema, one.request);
}

function checkOutcome(one: Case, outcome: unknown): void {
  const { error, unordered = false, ...expect } = one.expect;
  if (error !== undefined) return checkError(error as JsonObject, outcome);
  if (outcome instanceof Error) throw outcome;
  for (const [name, expected] of Object.entries(expect)) {
    const compare = CHECKS[name];
    if (compare === undefined) throw new Error(`unknown expectation ${name}`);
    compare(expected, outcome as never, unordered as boolean);
  }
}

const ERROR_FIELDS = ["status", "reason", "fields", "descriptions", "retryAfter", "nextPageToken", "clientMayRefuse"];

function checkError(expected: JsonObject, error: unknown): void {
  for (const field of Object.keys(expected)) check(ERROR_FIELDS.includes(field), `unknown field ${field} of error`);
  if (!(error instanceof QueryError)) {
    const isRefusal = error instanceof TypeError || error instanceof RangeError;
    check(isRefusal && expected["clientMayRefuse"] === true, `no QueryError: ${error}`);
    return;
  }
  const found: Record<string, unknown> = {
    status: error.code,
    reason: error.reason,
    fields: error.violations.map((one) => one.subject),
    retryAfter: error.retryAfterMs !== null,
    nextPageToken: error.nextPageToken !== "",
  };
  const { clientMayRefuse: _, descriptions = [], ...fields } = expected;
  for (const [name, value] of Object.entries(fields)) same(found[name], value, `${name} of ${error}`);
  for (const [index, text] of (descriptions as string[]).entries()) {
    check(error.violations[index]?.description.includes(text) === true, `"${text}" is not in ${error}`);
  }
}

type Check = (expected: any, outcome: any, unordered: boolean) => void;

function sameItems(expected: string[], found: string[], unordered: boolean, what: string): void {
  same(unordered ? [...found].sort() : found, unordered ? [...expected].sort() : expected, what);
}

function column(expected: Record<string, (string | number)[]>, { items }: Collected, unordered: boolean): void {
  for (const [name, values] of Object.entries(expected)) {
    const wanted = values.map((one) => typedJson(typeof one === "number" ? { n: String(one) } : { s: one }));
    sameItems(wanted, items.map((item) => typedValue(item[name])), unordered, name);
  }
}

const CHECKS: Record<string, Check> = {
  items: (expected: JsonObject[], { items }: Collected, unordered) =>
    sameItems(expected.map((one) => typedJson({ m: { fields: one } })), items.map(typedItem), unordered, "items"),
  numbers: column,
  strings: column,
  pageSizes: (expected, { pages }: Collected) =>
    same(pages.map((page) => page.items.length).filter((size) => size > 0), expected, "page sizes"),
  ends: (expected, { pages }: Collected) => {
    const full = pages.filter((page) => page.items.length > 0);
    same([...full.slice(0, -1), pages.at(-1)!].map((page) => page.end), expected, "ends");
  },
  token: (expected, outcome: Collected | Count) =>
    same(("pages" in outcome ? outcome.token : outcome.nextPageToken) !== "", expected, "token"),
  indexUsed: (expected, { pages }: Collected) => same(pages.at(-1)!.stats.indexUsed, expected, "index"),
  cache: (expected: string[], { pages }: Collected) =>
    check(expected.includes(pages.at(-1)!.cache.status), `cache status ${pages.at(-1)!.cache.status}`),
  freshness: (expected, { freshnessToken }: Collected | Count | FoundItems) => same(freshnessToken !== "", expected, "freshness"),
  total: (expected, { total }: Collected) => same(total, expected, "total"),
  count: (expected, { value, exact }: Count) => same({ value, exact }, expected, "count"),
  results: (expected: (JsonObject | null)[], { items }: FoundItems) =>
    same(
      items.map((one) => one && typedItem(one)),
      expected.map((one) => one && typedJson({ m: { fields: one } })),
      "results",
    ),
  explanation: (expected: JsonObject, outcome: Explanation) => {
    const found: Record<string, unknown> = {
      ...outcome,
      rejected: outcome.rejected.map((one) => one.index).sort(),
      warnings: outcome.warnings.length,
    };
    for (const [name, value] of Object.entries(expected)) same(found[name], value, name);
  },
  tables: (expected, outcome: TableSummary[]) => same(outcome.map((one) => one.name), expected, "tables"),
  key: (expected, { key }: Table) => {
    const names = (attributes: Table["key"]["sort"]) => attributes.map((one) => one.name);
    same({ partition: names(key.partition), sort: names(key.sort) }, expected, "key");
  },
  indexes: (expected, { indexes }: Table) => same(indexes.map((one) => one.name), expected, "indexes"),
};

function check(condition: boolean, message: string): void {
  if (!condition) throw new Error(message);
}
