/** The query: the items to return, and their order. */

import { create } from "@bufbuild/protobuf";
import { checkProperties, choice, flag, integer, text, texts } from "./checks.js";
import { Consistency, Order, QuerySpecSchema, type QuerySpec } from "./gen/dynamodb_processor/v1/query_pb.js";
import { encodeFields, type InputValue } from "./values.js";

/** The items to return, and their order. The service chooses how to read them. */
export interface Query {
  /** The table's name in the catalog. */
  readonly table: string;
  /** A condition in the expression language; `""` or absent for every item. */
  readonly expression?: string | undefined;
  /** The values of the `:name` parameters of `expression`, without the colon. */
  readonly parameters?: { readonly [name: string]: InputValue } | undefined;
  /** An index's name, or `"@table"` for the base table. The service chooses if absent. */
  readonly index?: string | undefined;
  /** The direction, by sort key. Default: ascending. */
  readonly order?: "ascending" | "descending" | undefined;
  /** Document paths of the attributes to return; all if absent or empty. */
  readonly projection?: readonly string[] | undefined;
  /** Whether to read consistently, which costs twice as much and is never cached. */
  readonly consistent?: boolean | undefined;
  /** The most items that all pages return together; 1 or more. */
  readonly maxItems?: number | undefined;
}

const NAMES = ["table", "expression", "parameters", "index", "order", "projection", "consistent", "maxItems"];

/** Returns a query as a message. Throws TypeError or RangeError for a wrong field. */
export function querySpec(query: Query): QuerySpec {
  checkProperties("a query", query, NAMES);
  const spec = create(QuerySpecSchema, {
    table: text("table", query.table),
    expression: text("expression", query.expression),
    index: text("index", query.index),
    projection: texts("projection", query.projection),
    consistency: consistency(query.consistent),
  });
  const order = choice("order", query.order, ["ascending", "descending"] as const);
  if (order !== undefined) spec.order = order === "ascending" ? Order.ASCENDING : Order.DESCENDING;
  if (query.parameters !== undefined) spec.parameters = encodeFields("parameters", query.parameters);
  if (query.maxItems !== undefined) spec.maxItems = BigInt(integer("maxItems", query.maxItems));
  return spec;
}

/** Returns the consistency of reads as a value of the contract. */
export function consistency(consistent: boolean | undefined): Consistency {
  return flag("consistent", consistent) ? Consistency.STRONG : Consistency.UNSPECIFIED;
}
