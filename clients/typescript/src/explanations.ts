/** The explanation of a query: its plan. */

import { AccessPath as AccessPathCode } from "./gen/dynamodb_processor/v1/query_pb.js";
import type { ExplainQueryResponse } from "./gen/dynamodb_processor/v1/query_service_pb.js";
import { nameOf } from "./pages.js";

/** The access path to the items; `"UNKNOWN"` for one that this client does not know. */
export type AccessPath = Exclude<keyof typeof AccessPathCode, "UNSPECIFIED"> | "UNKNOWN";

/** A path that was not chosen: the index, `"@table"` for the base table, and the reason. */
export interface RejectedPath {
  readonly index: string;
  readonly reason: string;
}

/** The plan of a query. The conditions are expressions, `""` for no condition. */
export interface Explanation {
  readonly path: AccessPath;
  /** The index; `""` for the base table, and for an index whose key is not granted. */
  readonly index: string;
  /** The key condition of the request to DynamoDB. */
  readonly keyCondition: string;
  /** The filter that DynamoDB applies after it has read and charged. */
  readonly filterExpression: string;
  /** The filter that the service applies to DynamoDB's results. */
  readonly localFilter: string;
  /** The number of partitions that are read and merged. */
  readonly branches: number;
  /** The paths that were not chosen. */
  readonly rejected: readonly RejectedPath[];
  /** The parts of the query that may cost more than expected. */
  readonly warnings: readonly string[];
}

/** Returns the explanation in a response. */
export function explanationOf(message: ExplainQueryResponse): Explanation {
  return {
    path: nameOf(AccessPathCode, message.path) as AccessPath,
    index: message.index,
    keyCondition: message.keyCondition,
    filterExpression: message.filterExpression,
    localFilter: message.localFilter,
    branches: message.branches,
    rejected: message.rejected.map(({ index, reason }) => ({ index, reason })),
    warnings: message.warnings,
  };
}
