/** The error of calls, and its conversion from errors of `@connectrpc/connect`. */

import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { connectionFailure } from "./connection_errors.js";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  PreconditionFailureSchema,
  QuotaFailureSchema,
  RequestInfoSchema,
  RetryInfoSchema,
} from "./gen/google/rpc/error_details_pb.js";

/** The names of gRPC's status codes. */
export type StatusName =
  | "CANCELLED"
  | "UNKNOWN"
  | "INVALID_ARGUMENT"
  | "DEADLINE_EXCEEDED"
  | "NOT_FOUND"
  | "ALREADY_EXISTS"
  | "PERMISSION_DENIED"
  | "RESOURCE_EXHAUSTED"
  | "FAILED_PRECONDITION"
  | "ABORTED"
  | "OUT_OF_RANGE"
  | "UNIMPLEMENTED"
  | "INTERNAL"
  | "UNAVAILABLE"
  | "DATA_LOSS"
  | "UNAUTHENTICATED";

const STATUS_NAMES: Record<Code, StatusName> = {
  [Code.Canceled]: "CANCELLED",
  [Code.Unknown]: "UNKNOWN",
  [Code.InvalidArgument]: "INVALID_ARGUMENT",
  [Code.DeadlineExceeded]: "DEADLINE_EXCEEDED",
  [Code.NotFound]: "NOT_FOUND",
  [Code.AlreadyExists]: "ALREADY_EXISTS",
  [Code.PermissionDenied]: "PERMISSION_DENIED",
  [Code.ResourceExhausted]: "RESOURCE_EXHAUSTED",
  [Code.FailedPrecondition]: "FAILED_PRECONDITION",
  [Code.Aborted]: "ABORTED",
  [Code.OutOfRange]: "OUT_OF_RANGE",
  [Code.Unimplemented]: "UNIMPLEMENTED",
  [Code.Internal]: "INTERNAL",
  [Code.Unavailable]: "UNAVAILABLE",
  [Code.DataLoss]: "DATA_LOSS",
  [Code.Unauthenticated]: "UNAUTHENTICATED",
};

/** One error in a request. */
export interface Violation {
  /** The path of a field, or the subject of a condition or a limit. */
  readonly subject: string;
  /** The problem and its remedy. */
  readonly description: string;
  /** The column of an expression, counted from 1; `null` where the error is not about an expression. */
  readonly column: number | null;
}

/** The fields of a `QueryError` besides its code and message. */
export interface ErrorFields {
  reason?: string;
  violations?: readonly Violation[];
  retryAfterMs?: number | null;
  mayRetry?: boolean;
  requestId?: string;
  nextPageToken?: string;
  cause?: unknown;
}

/** An error of the service or of the connection to it. */
export class QueryError extends Error {
  override readonly name = "QueryError";
  /** The gRPC status. */
  readonly code: StatusName;
  /** The machine-readable reason; `""` if there is none. */
  readonly reason: string;
  /** The errors in the request, if it was invalid. */
  readonly violations: readonly Violation[];
  /** Milliseconds after which the same call may succeed; `null` if the service gave none. */
  readonly retryAfterMs: number | null;
  /** `false` if the service asked clients not to call again now. */
  readonly mayRetry: boolean;
  /** The id of the call in the service's log; `""` if there is none. */
  readonly requestId: string;
  /** With the reason ITEM_TOO_LARGE, the token behind the item that is too large for a message. */
  readonly nextPageToken: string;
  /** The token to continue a stream or a count after the results so far; `""` for the beginning. */
  resumeToken = "";

  constructor(code: StatusName, message: string, fields: ErrorFields = {}) {
    super(message, fields.cause === undefined ? undefined : { cause: fields.cause });
    this.code = code;
    this.reason = fields.reason ?? "";
    this.violations = fields.violations ?? [];
    this.retryAfterMs = fields.retryAfterMs ?? null;
    this.mayRetry = fields.mayRetry ?? true;
    this.requestId = fields.requestId ?? "";
    this.nextPageToken = fields.nextPageToken ?? "";
  }

  /** The status, the reason and the message. */
  override toString(): string {
    const reason = this.reason !== "" && this.reason !== this.code ? ` (${this.reason})` : "";
    return `${this.code}${reason}: ${this.message}`;
  }
}

/** Returns the error for a service that makes no progress. */
export function noProgress(detail: string): QueryError {
  return new QueryError("INTERNAL", `the service makes no progress: ${detail}`, { reason: "NO_PROGRESS" });
}

/** Returns the error for an answer that does not follow the contract. */
export function badAnswer(detail: string, cause?: unknown): QueryError {
  return new QueryError("INTERNAL", detail, { reason: "BAD_ANSWER", cause });
}

/** Returns the error for a deadline that passed; `progress` says how far the operation came. */
export function deadlinePassed(progress = "", cause?: unknown): QueryError {
  const tail = progress === "" ? "" : `; ${progress}`;
  return new QueryError("DEADLINE_EXCEEDED", `the deadline passed${tail}`, {
    reason: "DEADLINE_EXCEEDED",
    cause,
  });
}

/** Returns the typed error for any error of a call. */
export function queryError(reason: unknown): QueryError {
  if (reason instanceof QueryError) return reason;
  const error = ConnectError.from(reason);
  return error.metadata.has("grpc-status") ? fromStatus(error) : fromConnection(error);
}

/** Converts an error that the service sent. */
function fromStatus(error: ConnectError): QueryError {
  const info = detail(error, ErrorInfoSchema);
  const retry = detail(error, RetryInfoSchema)?.retryDelay;
  const pushback = error.metadata.get("grpc-retry-pushback-ms");
  const waits = pushback === null || /^[0-9]{1,10}$/.test(pushback);
  return new QueryError(statusOf(error), error.rawMessage, {
    reason: info?.reason ?? "",
    violations: violations(error),
    // gRFC A6: a pushback that is negative or not a number means: do not retry.
    retryAfterMs: retry !== undefined ? durationMs(retry) : pushback !== null && waits ? Number(pushback) : null,
    mayRetry: waits,
    requestId: detail(error, RequestInfoSchema)?.requestId || error.metadata.get("x-request-id") || "",
    nextPageToken: info?.metadata["next_page_token"] ?? "",
    cause: error,
  });
}

/** Converts an error of the connection, the proxy or this library. */
function fromConnection(error: ConnectError): QueryError {
  if (error.code === Code.DeadlineExceeded) return deadlinePassed("", error);
  if (error.rawMessage.startsWith("parse binary:")) {
    return badAnswer("the service sent a malformed message", error);
  }
  // Only an answer of HTTP without a gRPC status has headers: its status was converted to a code.
  const isAnswer = [...error.metadata].length > 0;
  if (isAnswer || error.code === Code.Unimplemented || error.code === Code.ResourceExhausted) {
    return new QueryError(statusOf(error), error.rawMessage, { cause: error });
  }
  const message = `the connection failed: ${connectionFailure(error.rawMessage)}`;
  return new QueryError("UNAVAILABLE", message, { reason: "CONNECTION_FAILED", cause: error });
}

function statusOf(error: ConnectError): StatusName {
  // A stopping server may cancel calls that arrive at that moment (grpc#41785).
  return error.code === Code.Canceled ? "UNAVAILABLE" : (STATUS_NAMES[error.code] ?? "UNKNOWN");
}

function detail<S extends DescMessage>(error: ConnectError, schema: S): MessageShape<S> | undefined {
  return error.findDetails(schema)[0];
}

function violations(error: ConnectError): Violation[] {
  const found = [
    ...(detail(error, BadRequestSchema)?.fieldViolations ?? []).map((one) => ({
      subject: one.field,
      description: one.description,
    })),
    ...(detail(error, PreconditionFailureSchema)?.violations ?? []),
    ...(detail(error, QuotaFailureSchema)?.violations ?? []),
  ];
  return found.map(({ subject, description }) => ({ subject, description, column: columnOf(description) }));
}

function columnOf(description: string): number | null {
  const match = /^column ([0-9]+): /.exec(description);
  return match === null ? null : Number(match[1]);
}
