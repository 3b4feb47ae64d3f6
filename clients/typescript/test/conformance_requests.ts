/** The requests of the conformance kit as arguments of the client. */

import type { JsonObject } from "@bufbuild/protobuf";
import { durationMs, timestampDate, type Duration } from "@bufbuild/protobuf/wkt";
import { CacheMode, Consistency, Order, TotalMode, type QuerySpec } from "../src/gen/dynamodb_processor/v1/query_pb.js";
import type {
  BatchGetItemsRequest,
  CountItemsRequest,
  QueryRequest,
  StreamQueryRequest,
} from "../src/gen/dynamodb_processor/v1/query_service_pb.js";
import { number, type Budget, type CachePolicy, type InputValue, type Query } from "../src/index.js";
import type { Case } from "./conformance.js";

/** Returns the query of a case; `spec` is its message. */
export function queryOf(one: Case, spec: QuerySpec | undefined): Query {
  const { parameters } = one.request["query"] as { parameters?: JsonObject };
  return {
    table: spec!.table,
    expression: spec!.expression,
    parameters: parameters && inputs(parameters),
    index: spec!.index === "" ? undefined : spec!.index,
    order: spec!.order === Order.DESCENDING ? "descending" : undefined,
    projection: spec!.projection,
    consistent: spec!.consistency === Consistency.STRONG,
    maxItems: spec!.maxItems === undefined ? undefined : Number(spec!.maxItems),
  };
}

/** Returns the options of pages and streams that a request states. */
export function pageOptions(request: QueryRequest | StreamQueryRequest) {
  const { total } = request;
  const wanted = total && (total.mode === TotalMode.BOUNDED ? Number(total.upTo) : ("exact" as const));
  return { pageSize: request.pageSize, total: wanted, ...limits(request) };
}

const MODES = {
  [CacheMode.UNSPECIFIED]: undefined,
  [CacheMode.DEFAULT]: "default",
  [CacheMode.BYPASS]: "bypass",
  [CacheMode.REFRESH]: "refresh",
  [CacheMode.ONLY_IF_CACHED]: "only-if-cached",
} as const;

/** Returns the budget and the cache policy that a request states. */
export function limits({ budget, cache }: QueryRequest | StreamQueryRequest | CountItemsRequest | BatchGetItemsRequest): {
  budget: Budget | undefined;
  cache: CachePolicy | undefined;
} {
  return {
    budget: budget && {
      maxScannedItems: budget.maxScannedItems === undefined ? undefined : Number(budget.maxScannedItems),
      maxReadUnits: budget.maxReadUnits,
      maxDurationMs: milliseconds(budget.maxDuration),
    },
    cache: cache && {
      mode: MODES[cache.mode],
      maxStalenessMs: milliseconds(cache.maxStaleness),
      notBefore: cache.notBefore && timestampDate(cache.notBefore),
      notBeforeToken: cache.notBeforeToken,
    },
  };
}

function milliseconds(duration: Duration | undefined): number | undefined {
  return duration && durationMs(duration);
}

/** Returns values in proto3 JSON as the client's users write them. */
export function inputs(values: JsonObject): Record<string, InputValue> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, input(value as JsonObject)]));
}

function input(value: JsonObject): InputValue {
  const [[kind, data]] = Object.entries(value) as [[string, any]];
  const bytes = (base64: string) => Uint8Array.from(atob(base64), (one) => one.charCodeAt(0));
  switch (kind) {
    case "n":
      return number(data);
    case "b":
      return bytes(data);
    case "null":
      return null;
    case "ss":
      return new Set<string>(data.values ?? []);
    case "ns":
      return new Set((data.values as string[]).map(number));
    case "bs":
      return new Set((data.values as string[]).map(bytes));
    case "l":
      return ((data.values ?? []) as JsonObject[]).map(input);
    case "m":
      return inputs(data.fields ?? {});
    default:
      return data as string | boolean;
  }
}
