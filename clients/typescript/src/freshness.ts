/** How recent the answers of an operation have to be, and the tokens that they bring. */

import { clone, create } from "@bufbuild/protobuf";
import { TimestampSchema } from "@bufbuild/protobuf/wkt";
import { QueryError } from "./errors.js";
import { CachePolicySchema, type CachePolicy as CachePolicyMessage } from "./gen/dynamodb_processor/v1/query_pb.js";
import { cacheMessage, type CachePolicy } from "./options.js";
import { MAX_TOKENS, withAnswer, type SessionState } from "./session_state.js";

// Between tokens; a character that base64 does not have, and that cookies and URLs may have.
const SEPARATOR = ".";
// The field of a token that the service cannot read, such as one whose key was rotated away.
const UNREADABLE = "cache.not_before_token";

/** The freshness tokens of one operation, which may need several calls, one after the other. */
export class OperationTokens {
  readonly #policy: CachePolicyMessage | undefined;
  readonly #session: SessionState | null;
  readonly #table: string;
  #tokens: readonly string[] = [];
  #notBefore: number | null = null;
  #answers: readonly string[] = [];
  #sent: readonly string[] = [];
  #hasReplaced = false;

  /**
   * Begins an operation on a table with the caller's cache policy.
   *
   * @throws TypeError or RangeError if the policy is none.
   */
  constructor(policy: CachePolicy | undefined, session: SessionState | null, table: string) {
    this.#policy = cacheMessage(policy);
    this.#session = session;
    this.#table = table;
    this.refresh();
  }

  /** The tokens of the answers so far: for `notBeforeToken` of a cache policy. */
  get text(): string {
    return this.#answers.join(SEPARATOR);
  }

  /** Takes over the session's bounds of this moment for the calls from here on. */
  refresh(): void {
    const { tokens, written } = this.#session?.bounds(this.#table) ?? { tokens: [], written: null };
    const given = this.#policy?.notBeforeToken ?? "";
    this.#tokens = given === "" ? tokens : [...tokens, ...given.split(SEPARATOR)];
    this.#notBefore = written;
  }

  /**
   * Returns the cache policy of the next call.
   *
   * The calls of one operation need not be as recent as each other. But when their tokens become too
   * many, the next call sends them, so that its own token replaces them.
   */
  policy(): CachePolicyMessage | undefined {
    const sent = this.#answers.length < MAX_TOKENS ? this.#tokens : [...this.#tokens, ...this.#answers];
    this.#sent = [...new Set(sent)].sort();
    if (this.#policy === undefined && this.#sent.length === 0 && this.#notBefore === null) return undefined;
    const policy = this.#policy === undefined ? create(CachePolicySchema) : clone(CachePolicySchema, this.#policy);
    policy.notBeforeToken = this.#sent.join(SEPARATOR);
    if (this.#notBefore !== null && this.#notBefore > microseconds(policy)) {
      const seconds = Math.floor(this.#notBefore / 1e6);
      const nanos = (this.#notBefore - seconds * 1e6) * 1_000;
      policy.notBefore = create(TimestampSchema, { seconds: BigInt(seconds), nanos });
    }
    return policy;
  }

  /**
   * Records the token of an answer to the last call.
   *
   * In a stream it covers the messages before, and with them the tokens that the call sent. A replica
   * of an older release sends none.
   */
  record(token: string): void {
    if (token === "") return;
    this.#answers = withAnswer(this.#answers, this.#sent, token);
    this.#session?.record(this.#table, this.#sent, token, this.#notBefore);
    this.#sent = [token];
  }

  /**
   * Replaces a session's tokens by the current time if the service cannot read them any more.
   *
   * Returns whether it did so, once in an operation: then the call may be made again.
   */
  replaceUnreadable(error: unknown): boolean {
    if (this.#session === null || this.#hasReplaced || !isUnreadable(error)) return false;
    this.#hasReplaced = true;
    this.#session.forget(this.#table, this.#sent);
    this.#answers = [];
    this.refresh();
    return true;
  }
}

function isUnreadable(error: unknown): boolean {
  if (!(error instanceof QueryError) || error.code !== "INVALID_ARGUMENT") return false;
  return error.violations.some(({ subject }) => subject === UNREADABLE);
}

function microseconds({ notBefore }: CachePolicyMessage): number {
  return notBefore === undefined ? -Infinity : Number(notBefore.seconds) * 1e6 + notBefore.nanos / 1_000;
}
