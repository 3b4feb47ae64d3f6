/** The query that the form holds, and its forms for the client and for JSON. */

import type { CachePolicy, Query, StreamOptions } from "dynamodb-processor-client";
import { attributeValue, inputOf, type Typed } from "./parameters.js";

/** A query with its options, as the user has entered them. */
export interface Draft {
  readonly table: string;
  readonly expression: string;
  readonly parameters: readonly (readonly [string, Typed])[];
  /** An index's name, `@table`, or empty for the service's choice. */
  readonly index: string;
  readonly isDescending: boolean;
  readonly isConsistent: boolean;
  readonly projection: readonly string[];
  /** `null` for no limit. */
  readonly maxItems: number | null;
  /** 0 for the table's default. */
  readonly pageSize: number;
  readonly cacheMode: NonNullable<CachePolicy["mode"]>;
  /** `null` for no limit. */
  readonly maxReadUnits: number | null;
}

/** Returns the query as the client takes it. */
export function queryOf(draft: Draft): Query {
  return {
    table: draft.table,
    expression: draft.expression,
    parameters: Object.fromEntries(draft.parameters.map(([name, value]) => [name, inputOf(value)])),
    ...(draft.index === "" ? {} : { index: draft.index }),
    ...(draft.isDescending ? { order: "descending" as const } : {}),
    ...(draft.isConsistent ? { consistent: true } : {}),
    ...(draft.projection.length === 0 ? {} : { projection: draft.projection }),
    ...(draft.maxItems === null ? {} : { maxItems: draft.maxItems }),
  };
}

/** Returns the options of a stream of the query's pages. */
export function streamOptionsOf(draft: Draft): StreamOptions {
  return {
    pageSize: draft.pageSize,
    cache: { mode: draft.cacheMode },
    ...(draft.maxReadUnits === null ? {} : { budget: { maxReadUnits: draft.maxReadUnits } }),
  };
}

/** Returns the request of the contract in JSON; `withTable` is false where the path has the table. */
export function requestJson(draft: Draft, withTable: boolean): Record<string, unknown> {
  const parameters = draft.parameters.map(([name, value]) => [name, attributeValue(value)] as const);
  const query = {
    ...(withTable ? { table: draft.table } : {}),
    ...(draft.expression === "" ? {} : { expression: draft.expression }),
    ...(parameters.length === 0 ? {} : { parameters: Object.fromEntries(parameters) }),
    ...(draft.index === "" ? {} : { index: draft.index }),
    ...(draft.isDescending ? { order: "ORDER_DESCENDING" } : {}),
    ...(draft.projection.length === 0 ? {} : { projection: draft.projection }),
    ...(draft.isConsistent ? { consistency: "CONSISTENCY_STRONG" } : {}),
    // 64-bit integers are strings in the JSON of protobuf.
    ...(draft.maxItems === null ? {} : { maxItems: String(draft.maxItems) }),
  };
  return {
    query,
    ...(draft.pageSize === 0 ? {} : { pageSize: draft.pageSize }),
    ...(draft.maxReadUnits === null ? {} : { budget: { maxReadUnits: draft.maxReadUnits } }),
    ...(draft.cacheMode === "default"
      ? {}
      : { cache: { mode: `CACHE_MODE_${draft.cacheMode.replaceAll("-", "_").toUpperCase()}` } }),
  };
}
