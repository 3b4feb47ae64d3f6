/** Streams that resume after a break, without a lost or repeated item. */

import { create } from "@bufbuild/protobuf";
import type { CallOptions as RpcOptions } from "@connectrpc/connect";
import type { Connection, Operation } from "./connection.js";
import { noProgress, QueryError } from "./errors.js";
import type { OperationTokens } from "./freshness.js";
import {
  StreamQueryRequestSchema,
  type StreamQueryRequest,
  type StreamQueryResponse,
} from "./gen/dynamodb_processor/v1/query_service_pb.js";
import { budgetAfter, budgetMessage, type Budget, type CallOptions } from "./options.js";
import { NO_STATS, pageOf, statsOf, sumOf, type Page, type PageStats, type Total } from "./pages.js";
import { hasProgressed, IdleCalls, isCutByService } from "./progress.js";
import { attemptsOf } from "./resume.js";
import type { Item, NumberForm } from "./values.js";

// Milliseconds within which the status of a stream must follow its last message.
const STATUS_WITHIN_MS = 5_000;
const MAX_IDLE_MESSAGES = 100;
// The service's reason for a bearer token that has expired, perhaps during the stream.
const EXPIRED = "BEARER_TOKEN_EXPIRED";

/** The parts of a stream that its client knows. */
export interface StreamParts {
  readonly connection: Connection;
  readonly request: StreamQueryRequest;
  readonly tokens: OperationTokens;
  readonly budget: Budget | undefined;
  readonly options: CallOptions;
  readonly numbers: NumberForm;
  /** Returns the affinity key of the request; `null` for none. */
  readonly affinity: (operation: Operation) => Promise<string | null>;
  readonly open: (request: StreamQueryRequest, options: RpcOptions) => AsyncIterable<StreamQueryResponse>;
}

/**
 * An async iterator over the pages of a result, as they arrive.
 *
 * A page without items reports the progress of a long search. If a budget of the caller ends the
 * stream, the last page has a token, and `end` has the reason. Any other early end is a `QueryError`,
 * whose `resumeToken` continues after the last page.
 *
 * The only state is the progress, so a resumption is a call for the rest.
 */
export class PageStream<T = Item> implements AsyncIterableIterator<Page<T>> {
  readonly #parts: StreamParts;
  readonly #generator: AsyncGenerator<Page<T>, undefined>;
  readonly #idleCalls = new IdleCalls();
  #operation: Operation | null = null;
  #call: AsyncIterator<StreamQueryResponse> | null = null;
  #hasBegun = false;
  #isOver = false;
  #attempt = 0;
  #resumptions = 0;
  #lastMessageAt = 0;
  #idleMessages = 0;
  #hasProgressed = false;
  #resumeToken: string;
  #earlierCalls: PageStats = NO_STATS;
  #thisCall: PageStats = NO_STATS;
  #total: Total | null = null;

  /** Prepares a stream; `QueryClient.pages` is the public way. The first page sends the request. */
  constructor(parts: StreamParts) {
    this.#parts = parts;
    this.#resumeToken = parts.request.resumeToken;
    this.#generator = this.#pages();
  }

  /**
   * The token to continue after the pages so far; `""` when all pages were delivered.
   *
   * Before the first page it is the token that the stream was made with.
   */
  get resumeToken(): string {
    return this.#resumeToken;
  }

  /** For `notBeforeToken` of later calls; `""` before the first page. It covers all pages so far. */
  get freshnessToken(): string {
    return this.#parts.tokens.text;
  }

  /** The cost of the stream so far, over all its calls. */
  get stats(): PageStats {
    return sumOf(this.#earlierCalls, this.#thisCall);
  }

  /** The number of matching items; `null` before the first page, or if not requested. */
  get total(): Total | null {
    return this.#total;
  }

  /** The number of breaks after which the stream has continued. */
  get resumptions(): number {
    return this.#resumptions;
  }

  /** Returns the next page. */
  next(): Promise<IteratorResult<Page<T>, undefined>> {
    return this.#generator.next();
  }

  /** Ends the stream; the service stops reading for it. */
  return(): Promise<IteratorResult<Page<T>, undefined>> {
    this.#isOver = true;
    this.#cancelCall();
    return this.#generator.return(undefined);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async *#pages(): AsyncGenerator<Page<T>, undefined> {
    if (this.#isOver) return undefined;
    const { connection, options } = this.#parts;
    const operation = connection.begin(options);
    this.#operation = operation;
    try {
      while (!this.#isOver) {
        const message = await this.#receive(operation);
        if (message !== null) yield await this.#accept(operation, message);
      }
    } catch (error) {
      this.#isOver = true;
      if (error instanceof QueryError) error.resumeToken = this.#resumeToken;
      throw error;
    } finally {
      this.#cancelCall();
      operation.end();
    }
    return undefined;
  }

  /** Returns the next message; `null` after a break from which the stream continues, or at its end. */
  async #receive(operation: Operation): Promise<StreamQueryResponse | null> {
    const call = this.#call ?? (await this.#open(operation));
    if (call === null) return null;
    try {
      const { done, value } = await call.next();
      if (done !== true) return value;
    } catch (reason) {
      if (!this.#isOver) await this.#recover(operation, operation.errorOf(reason));
      return null;
    }
    const error = "the stream ended before its last message";
    await this.#recover(operation, new QueryError("UNAVAILABLE", error, { reason: "STREAM_INCOMPLETE" }));
    return null;
  }

  /** Sends the request for the rest; returns `null` if the stream was left before that. */
  async #open(operation: Operation): Promise<AsyncIterator<StreamQueryResponse> | null> {
    const { connection, request, tokens, budget, affinity, open } = this.#parts;
    const headers = await connection.headers(await affinity(operation));
    if (this.#isOver) return null;
    const options = operation.requestOptions(headers);
    const left = budget && budgetAfter(budget, this.#earlierCalls, operation.deadline.elapsedMs);
    this.#lastMessageAt = operation.deadline.elapsedMs;
    this.#hasProgressed = false;
    const rest = create(StreamQueryRequestSchema, { ...request, resumeToken: this.#resumeToken });
    rest.budget = budgetMessage(left ?? budget);
    tokens.refresh();
    rest.cache = tokens.policy();
    if (this.#total !== null) rest.total = undefined; // a resumption does not count again
    this.#call = open(rest, options)[Symbol.asyncIterator]();
    return this.#call;
  }

  async #accept(operation: Operation, message: StreamQueryResponse): Promise<Page<T>> {
    const page = pageOf<T>(message, message.resumeToken, this.#parts.numbers);
    if (message.last) await this.#readStatus(operation);
    this.#checkProgress(operation, message, page.stats);
    this.#total ??= page.total;
    this.#parts.tokens.record(message.freshnessToken);
    if (!this.#hasBegun) this.#parts.connection.throttle.record(true);
    this.#hasBegun = true;
    this.#resumeToken = message.resumeToken;
    this.#thisCall = statsOf(message.cumulative);
    if (message.last) {
      this.#cancelCall();
      const isCut = isCutByService(message.end, message.resumeToken, this.#parts.budget);
      this.#isOver ||= !isCut || this.#isBudgetSpent(operation);
      this.#idleCalls.record(this.#hasProgressed || this.#isOver);
    }
    return { ...page, total: this.#total, freshnessToken: this.freshnessToken };
  }

  /** Reads the status behind the last message: without it the server would see a cancellation. */
  async #readStatus(operation: Operation): Promise<void> {
    const status = this.#call?.next().catch(() => undefined);
    // The message says that the stream is complete, whatever follows.
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, STATUS_WITHIN_MS);
      void status?.then(() => {
        clearTimeout(timer);
        resolve();
      });
    });
    operation.check();
  }

  #checkProgress(operation: Operation, message: StreamQueryResponse, stats: PageStats): void {
    const token = message.resumeToken;
    if (message.items.length > 0 && token !== "" && token === this.#resumeToken) {
      throw noProgress("items came with the token of their own request");
    }
    const now = operation.deadline.elapsedMs;
    const elapsed = now - this.#lastMessageAt;
    this.#lastMessageAt = now;
    const isFurther = hasProgressed(this.#resumeToken, token, stats, elapsed);
    if (message.items.length > 0 || token === "" || isFurther) {
      this.#hasProgressed = true;
      this.#attempt = this.#idleMessages = 0;
      return;
    }
    this.#idleMessages += 1;
    if (this.#idleMessages > MAX_IDLE_MESSAGES) {
      throw noProgress(`${this.#idleMessages} messages in a row without progress`);
    }
  }

  /** Waits before a resumption, or ends the stream. Throws `error` if neither applies. */
  async #recover(operation: Operation, error: QueryError): Promise<void> {
    this.#cancelCall();
    if (this.#hasBegun && this.#resumeToken === "") {
      this.#isOver = true; // It broke after the last item.
      return;
    }
    if (this.#parts.tokens.replaceUnreadable(error)) return;
    this.#attempt += 1;
    if (!(await this.#mayContinue(operation, error))) throw error;
    this.#resumptions += this.#hasBegun ? 1 : 0;
    // Checked after the pause, because the pause spends the caller's time budget.
    this.#isOver ||= this.#isBudgetSpent(operation);
  }

  #mayContinue(operation: Operation, error: QueryError): Promise<boolean> {
    const { connection } = this.#parts;
    if (error.code !== "UNAUTHENTICATED") {
      return connection.pauseBeforeRetry(operation, error, this.#attempt, this.#hasBegun);
    }
    const isRenewed = this.#hasBegun && connection.credential.isRenewed && error.reason === EXPIRED;
    const may = isRenewed && this.#attempt <= attemptsOf(connection.policy, true);
    return may ? connection.pause(operation, error, this.#attempt) : Promise.resolve(false);
  }

  #cancelCall(): void {
    if (this.#call !== null) {
      this.#call = null;
      this.#operation?.cancelRequest();
    }
    this.#earlierCalls = this.stats;
    this.#thisCall = NO_STATS;
  }

  #isBudgetSpent(operation: Operation): boolean {
    const { budget } = this.#parts;
    if (budget === undefined) return false;
    return budgetAfter(budget, this.#earlierCalls, operation.deadline.elapsedMs) === null;
  }
}
