/**
 * Reads DynamoDB tables through the DynamoDB Processor service.
 *
 * @packageDocumentation
 */

export { QueryClient } from "./client.js";
export type { ClientOptions } from "./connection.js";
export type { Count } from "./counts.js";
export type { TokenProvider } from "./credentials.js";
export { QueryError, type StatusName, type Violation } from "./errors.js";
export type { AccessPath, Explanation, RejectedPath } from "./explanations.js";
export type { FoundItems, Key } from "./gets.js";
export type { ItemStream } from "./items.js";
export { number, NumberText } from "./numbers.js";
export type {
  Budget,
  CachePolicy,
  CallOptions,
  CountOptions,
  GetOptions,
  QueryOptions,
  ReadOptions,
  StreamOptions,
} from "./options.js";
export type { CacheInfo, CacheStatus, Page, PageEnd, PageStats, Total } from "./pages.js";
export type { Query } from "./query.js";
export type { ResumePolicy } from "./resume.js";
export type { Session } from "./session.js";
export type { PageStream } from "./streams.js";
export type { Index, IndexKind, KeyAttribute, KeySchema, KeyType, Table, TableSummary } from "./tables.js";
export { binary, numberSet, type InputValue, type Item, type NumberForm, type Value } from "./values.js";
