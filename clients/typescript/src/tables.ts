/** The granted tables, with their keys and indexes. */

import { durationMs } from "@bufbuild/protobuf/wkt";
import { noProgress } from "./errors.js";
import {
  IndexKind as IndexKindCode,
  KeyType as KeyTypeCode,
  type Index as IndexMessage,
  type KeyAttribute as KeyAttributeMessage,
  type KeySchema as KeySchemaMessage,
  type ListTablesResponse,
  type Table as TableMessage,
} from "./gen/dynamodb_processor/v1/catalog_service_pb.js";
import { nameOf } from "./pages.js";
import { IdleCalls } from "./progress.js";

/** One table of a listing: its name in queries, and its description in the catalog. */
export interface TableSummary {
  readonly name: string;
  readonly description: string;
}

/** The type of a key attribute; `"UNKNOWN"` for one that this client does not know. */
export type KeyType = Exclude<keyof typeof KeyTypeCode, "UNSPECIFIED"> | "UNKNOWN";

/** The kind of a secondary index; `"UNKNOWN"` for one that this client does not know. */
export type IndexKind = Exclude<keyof typeof IndexKindCode, "UNSPECIFIED"> | "UNKNOWN";

/** One attribute of a key. */
export interface KeyAttribute {
  /** Its name; `""` if queries name only the fields that it is composed of. */
  readonly name: string;
  readonly type: KeyType;
  /** The template that composes it of fields, such as `USER#{user_id}`; `""` if there is none. */
  readonly template: string;
}

/** The attributes of a key, in order; `sort` is empty without a sort key. */
export interface KeySchema {
  readonly partition: readonly KeyAttribute[];
  readonly sort: readonly KeyAttribute[];
}

/** A secondary index. */
export interface Index {
  readonly name: string;
  readonly kind: IndexKind;
  readonly key: KeySchema;
  /** Whether the index holds every attribute. */
  readonly projectsAll: boolean;
  /** The attributes that it holds, if not every one. */
  readonly projectedAttributes: readonly string[];
}

/** A table as the caller sees it. */
export interface Table {
  /** The name in queries. */
  readonly name: string;
  /** The description in the catalog; may be empty. */
  readonly description: string;
  /** The base table's key. */
  readonly key: KeySchema;
  /** The secondary indexes, by name. */
  readonly indexes: readonly Index[];
  /** Attributes that queries may name and results contain; empty means all. */
  readonly visibleAttributes: readonly string[];
  /** Attributes that every item has, according to the catalog. */
  readonly requiredAttributes: readonly string[];
  /** Items per page if the call has no page size. */
  readonly defaultPageSize: number;
  /** The largest page size. */
  readonly maxPageSize: number;
  /** Milliseconds for which pages stay cached; 0 means that they are not cached. */
  readonly cacheTtlMs: number;
  /** Whether conditions without a partition key are allowed. */
  readonly allowScan: boolean;
  /** Attributes that are RFC 3339 text in queries and results, in any stored form. */
  readonly timestampAttributes: readonly string[];
  /** Attribute with the time after which an item is left out; `""` if all items are returned. */
  readonly timeToLiveAttribute: string;
}

/** Returns the table in a message. */
export function tableOf(table: TableMessage): Table {
  return {
    name: table.name,
    description: table.description,
    key: keyOf(table.key),
    indexes: table.indexes.map(indexOf),
    visibleAttributes: table.visibleAttributes,
    requiredAttributes: table.requiredAttributes,
    defaultPageSize: table.defaultPageSize,
    maxPageSize: table.maxPageSize,
    cacheTtlMs: table.cacheTtl === undefined ? 0 : durationMs(table.cacheTtl),
    allowScan: table.allowScan,
    timestampAttributes: table.timestampAttributes,
    timeToLiveAttribute: table.timeToLiveAttribute,
  };
}

/** Returns the tables on all pages of a listing; `call` gets the token and the progress. */
export async function listAll(
  call: (token: string, progress: string) => Promise<ListTablesResponse>,
): Promise<TableSummary[]> {
  const found = new Map<string, TableSummary>();
  const tokens = new Set<string>();
  const idleCalls = new IdleCalls();
  let token = "";
  for (;;) {
    const before = found.size;
    const response = await call(token, before === 0 ? "" : `${before} tables were listed by then`);
    for (const { name, description } of response.tables) found.set(name, { name, description });
    token = response.nextPageToken;
    if (token === "") return [...found.values()];
    if (tokens.has(token)) throw noProgress("the listing returned a token for the second time");
    tokens.add(token);
    idleCalls.record(found.size > before);
  }
}

function indexOf(index: IndexMessage): Index {
  return {
    name: index.name,
    kind: nameOf(IndexKindCode, index.kind) as IndexKind,
    key: keyOf(index.key),
    projectsAll: index.projectsAll,
    projectedAttributes: index.projectedAttributes,
  };
}

function keyOf(key: KeySchemaMessage | undefined): KeySchema {
  return {
    partition: (key?.partition ?? []).map(attributeOf),
    sort: (key?.sort ?? []).map(attributeOf),
  };
}

function attributeOf({ name, type, template }: KeyAttributeMessage): KeyAttribute {
  return { name, type: nameOf(KeyTypeCode, type) as KeyType, template };
}
