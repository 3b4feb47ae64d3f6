/** Calls of the service with their credential, deadline, retries and end. */

import type { CallOptions as RpcOptions } from "@connectrpc/connect";
import { checkProperties, positive, shown } from "./checks.js";
import { CallCredential, type TokenProvider } from "./credentials.js";
import { deadlinePassed, queryError, QueryError } from "./errors.js";
import { OPTION_NAMES, type CallOptions } from "./options.js";
import {
  attemptsOf,
  backoffMs,
  Deadline,
  isRetryable,
  resumePolicy,
  RetryThrottle,
  type ResumePolicy,
} from "./resume.js";
import type { NumberForm } from "./values.js";

/** The options of a client. */
export interface ClientOptions {
  /** The API key that is sent with every call. */
  readonly apiKey?: string | undefined;
  /** Instead of a key, the bearer token of every call, or a function that returns it. */
  readonly token?: string | TokenProvider | undefined;
  /** The default of `timeoutMs` of every call; `null` for no deadline. Default: 60,000. */
  readonly timeoutMs?: number | null | undefined;
  /** When and how often broken streams are resumed, and failed calls made again. */
  readonly resume?: Partial<ResumePolicy> | undefined;
  /** The form of DynamoDB numbers in items. Default: `"string"`. */
  readonly numbers?: NumberForm | undefined;
  /** Whether to send `x-affinity-key`, by which a gateway sends equal reads to one replica. */
  readonly affinity?: boolean | undefined;
}

/** The names of the options of a client. */
export const CLIENT_OPTION_NAMES = ["apiKey", "token", "timeoutMs", "resume", "numbers", "affinity"] as const;

const DEFAULT_TIMEOUT_MS = 60_000;
// gRPC writes a timeout with at most eight digits.
const MAX_TIMEOUT_MS = 99_999_999;

/** One call of a client's method: its deadline, and the signal of its requests. */
export class Operation {
  readonly deadline: Deadline;
  readonly #caller: AbortSignal | undefined;
  readonly #onEnd: (operation: Operation) => void;
  readonly #onAbort = () => this.stop(this.#caller?.reason);
  #controller = new AbortController();
  #stopped: { reason: unknown } | null = null;

  constructor(deadline: Deadline, caller: AbortSignal | undefined, onEnd: (operation: Operation) => void) {
    this.deadline = deadline;
    this.#caller = caller;
    this.#onEnd = onEnd;
    if (caller?.aborted === true) this.#onAbort();
    else caller?.addEventListener("abort", this.#onAbort);
  }

  /** The signal of the current request. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Ends the operation: it throws `reason`. */
  stop(reason: unknown): void {
    this.#stopped ??= { reason };
    this.#controller.abort(reason);
  }

  /** Cancels the current request only. */
  cancelRequest(): void {
    this.#controller.abort();
    this.#controller = new AbortController();
    if (this.#stopped !== null) this.#controller.abort(this.#stopped.reason);
  }

  /** Throws the reason if the operation was stopped. */
  check(): void {
    if (this.#stopped !== null) throw this.#stopped.reason;
  }

  /** Returns the typed error for a failed request. Throws the reason if the operation was stopped. */
  errorOf(reason: unknown): QueryError {
    this.check();
    return queryError(reason);
  }

  /** Returns the options of a request with these headers. */
  requestOptions(headers: Headers, progress = ""): RpcOptions {
    this.check();
    const left = this.deadline.remaining(0, progress);
    const timeout = left === null ? {} : { timeoutMs: Math.ceil(Math.min(left, MAX_TIMEOUT_MS)) };
    return { headers, signal: this.signal, ...timeout };
  }

  /** Forgets the operation, which is over. */
  end(): void {
    this.#caller?.removeEventListener("abort", this.#onAbort);
    this.#onEnd(this);
  }
}

/** Makes calls with the options of a client. */
export class Connection {
  readonly policy: ResumePolicy;
  readonly credential: CallCredential;
  readonly throttle = new RetryThrottle();
  readonly #timeoutMs: number | null;
  readonly #operations = new Set<Operation>();
  #isClosed = false;

  /** Checks the options. Throws TypeError or RangeError for a wrong one. */
  constructor(options: ClientOptions) {
    this.credential = new CallCredential(options.apiKey, options.token);
    this.policy = resumePolicy(options.resume);
    this.#timeoutMs = timeoutOf(options.timeoutMs, DEFAULT_TIMEOUT_MS);
  }

  /** Begins an operation whose deadline starts now. */
  begin(options: CallOptions): Operation {
    if (this.#isClosed) throw closed();
    const timeoutMs = timeoutOf(options.timeoutMs, this.#timeoutMs);
    const deadline = new Deadline(timeoutMs, this.policy.now);
    const operation = new Operation(deadline, options.signal, (one) => this.#operations.delete(one));
    this.#operations.add(operation);
    return operation;
  }

  /** Runs an operation of any number of calls. */
  async run<R>(options: CallOptions, body: (operation: Operation) => Promise<R>): Promise<R> {
    const operation = this.begin(options);
    try {
      return await body(operation);
    } finally {
      operation.end();
    }
  }

  /** Returns the answer of a unary method, after retries if need be. */
  async unary<R>(
    operation: Operation,
    request: (options: RpcOptions) => Promise<R>,
    affinity: string | null = null,
    progress = "",
  ): Promise<R> {
    for (let attempt = 1; ; attempt += 1) {
      const options = operation.requestOptions(await this.headers(affinity), progress);
      try {
        const answer = await request(options);
        this.throttle.record(true);
        return answer;
      } catch (reason) {
        const error = operation.errorOf(reason);
        if (error.code === "DEADLINE_EXCEEDED" && progress !== "") throw deadlinePassed(progress, error);
        if (!(await this.pauseBeforeRetry(operation, error, attempt, false))) throw error;
      }
    }
  }

  /** Returns the headers of the next request. */
  async headers(affinity: string | null): Promise<Headers> {
    const headers = await this.credential.headers();
    if (affinity !== null) headers.set("x-affinity-key", affinity);
    return headers;
  }

  /** Records a failure, and waits if the request may be made again. Returns `false` if it may not. */
  async pauseBeforeRetry(
    operation: Operation,
    error: QueryError,
    attempt: number,
    hasBegun: boolean,
  ): Promise<boolean> {
    if (!isRetryable(this.policy, error)) return false;
    this.throttle.record(false);
    if (!hasBegun && !this.throttle.allows) return false;
    return attempt <= attemptsOf(this.policy, hasBegun) && this.pause(operation, error, attempt);
  }

  /** Waits before an attempt. Returns `false` at once if the deadline is before its end. */
  async pause(operation: Operation, error: QueryError, attempt: number): Promise<boolean> {
    const milliseconds = backoffMs(this.policy, attempt, error);
    if (!operation.deadline.allows(milliseconds)) return false;
    try {
      await this.policy.sleep(milliseconds, operation.signal);
    } finally {
      operation.check();
    }
    return true;
  }

  /** Ends all operations, and refuses further ones. */
  close(): void {
    this.#isClosed = true;
    for (const operation of this.#operations) operation.stop(closed());
  }
}

/** Checks the names of a method's options. */
export function checkOptions(method: keyof typeof OPTION_NAMES, options: object): void {
  checkProperties("options", options, OPTION_NAMES[method]);
}

function timeoutOf(given: number | null | undefined, otherwise: number | null): number | null {
  if (given === undefined) return otherwise;
  if (given !== null && typeof given !== "number") {
    throw new TypeError(`timeoutMs is a number or null, not ${shown(given)}`);
  }
  return given === null ? null : positive("timeoutMs", given);
}

function closed(): QueryError {
  return new QueryError("CANCELLED", "the client is closed", { reason: "CLIENT_CLOSED" });
}
