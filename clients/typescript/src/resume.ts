/** Retries and resumptions: their number, the pauses between them, and deadlines. */

import { checkProperties, shown } from "./checks.js";
import { deadlinePassed, QueryError } from "./errors.js";

/**
 * When and how often broken streams are resumed, and failed calls made again.
 *
 * A stream is broken if it ends with UNAVAILABLE or without its last message. A stream that breaks
 * before its first message, and any other call, is made again twice at most.
 */
export interface ResumePolicy {
  /** Resumptions in a row without progress, at most. 0 turns retries and resumptions off. Default: 5. */
  readonly attempts: number;
  /** Upper limit of the first pause in milliseconds. It doubles with each attempt. Default: 200. */
  readonly initialBackoffMs: number;
  /** Upper limit of every pause, without the service's `retryAfterMs`, which is added. Default: 5,000. */
  readonly maxBackoffMs: number;
  /** Longest `retryAfterMs` of the service that is accepted. Default: 60,000. */
  readonly maxRetryAfterMs: number;
  /** Waits for a number of milliseconds, or until the signal ends the wait. Default: a timer. */
  readonly sleep: (milliseconds: number, signal: AbortSignal) => Promise<void>;
  /** Returns a random number from [0, 1). Default: `Math.random`. */
  readonly random: () => number;
  /** Returns monotonic milliseconds. Default: `performance.now`. */
  readonly now: () => number;
}

const DEFAULTS: ResumePolicy = {
  attempts: 5,
  initialBackoffMs: 200,
  maxBackoffMs: 5_000,
  maxRetryAfterMs: 60_000,
  sleep: wait,
  random: () => Math.random(),
  now: () => performance.now(),
};
const FUNCTIONS = ["sleep", "random", "now"];
const FIRST_ATTEMPTS = 2;
const MAX_DOUBLINGS = 1_000; // a number overflows at 1,024

/** Returns a policy with the defaults of absent fields. Throws TypeError or RangeError for a wrong one. */
export function resumePolicy(given: Partial<ResumePolicy> | undefined): ResumePolicy {
  if (given === undefined) return DEFAULTS;
  checkProperties("resume", given, Object.keys(DEFAULTS));
  for (const [name, value] of Object.entries(given)) {
    const type = FUNCTIONS.includes(name) ? "function" : "number";
    if (typeof value !== type) throw new TypeError(`resume.${name} is a ${type}, not ${shown(value)}`);
    if (typeof value === "number" && !(value >= 0)) {
      throw new RangeError(`resume.${name} is 0 or more, not ${value}`);
    }
  }
  return { ...DEFAULTS, ...given };
}

/** Tells whether a call that failed with `error` may be made again. */
export function isRetryable(policy: ResumePolicy, error: QueryError): boolean {
  return (
    error.code === "UNAVAILABLE" && error.mayRetry && (error.retryAfterMs ?? 0) <= policy.maxRetryAfterMs
  );
}

/** Returns the most attempts after the first one: fewer before the first answer. */
export function attemptsOf(policy: ResumePolicy, hasBegun: boolean): number {
  return hasBegun ? policy.attempts : Math.min(policy.attempts, FIRST_ATTEMPTS);
}

/** Returns the milliseconds to wait before an attempt, counted from 1, with full jitter. */
export function backoffMs(policy: ResumePolicy, attempt: number, error: QueryError): number {
  const doublings = Math.min(attempt - 1, MAX_DOUBLINGS);
  const ceiling = Math.min(policy.initialBackoffMs * 2 ** doublings, policy.maxBackoffMs);
  return Math.max(0, error.retryAfterMs ?? 0) + policy.random() * ceiling;
}

/**
 * Keeps a fleet of clients from multiplying an outage, as gRPC's `retryThrottling` does.
 *
 * Every failure costs a token, ten successes earn one, and below half of the tokens nothing is
 * made again.
 */
export class RetryThrottle {
  #tokens = 100;

  /** Whether a failed call may be made again. */
  get allows(): boolean {
    return this.#tokens > 50;
  }

  /** Records the outcome of a call. */
  record(succeeded: boolean): void {
    this.#tokens = succeeded ? Math.min(this.#tokens + 0.1, 100) : Math.max(this.#tokens - 1, 0);
  }
}

/** A deadline some milliseconds after its creation, or none. */
export class Deadline {
  readonly #timeoutMs: number | null;
  readonly #now: () => number;
  readonly #began: number;

  /** Starts now; `timeoutMs` is `null` for no deadline. */
  constructor(timeoutMs: number | null, now: () => number) {
    this.#timeoutMs = timeoutMs;
    this.#now = now;
    this.#began = now();
  }

  /** Milliseconds since the start. */
  get elapsedMs(): number {
    return this.#now() - this.#began;
  }

  /**
   * Returns the remaining milliseconds; `null` without a deadline.
   *
   * @throws QueryError if no more than `needed` remain, with `progress` in its message.
   */
  remaining(needed = 0, progress = ""): number | null {
    if (this.#timeoutMs === null) return null;
    const left = this.#timeoutMs - this.elapsedMs;
    if (left <= needed) throw deadlinePassed(progress);
    return left;
  }

  /** Tells whether a pause ends before the deadline. */
  allows(pauseMs: number): boolean {
    return this.#timeoutMs === null || pauseMs < this.#timeoutMs - this.elapsedMs;
  }
}

function wait(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
  });
}
