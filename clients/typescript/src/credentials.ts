/** The credential of calls: an API key, or a bearer token that may be renewed. */

import { shown } from "./checks.js";

/**
 * Returns the bearer token for the next call, or a promise of it.
 *
 * It is called before each call, so it should keep a token until it is about to expire.
 */
export type TokenProvider = () => string | Promise<string>;

const PRINTABLE = /^[\x20-\x7e]*$/;

/** Makes the headers of calls. */
export class CallCredential {
  readonly #fixed: [string, string][] = [];
  readonly #provider: TokenProvider | null = null;

  /** Checks the credential, of which at most one may be given. Throws TypeError or RangeError. */
  constructor(apiKey: string | undefined, token: string | TokenProvider | undefined) {
    if (apiKey !== undefined && token !== undefined) throw new TypeError("give apiKey or token, not both");
    if (apiKey !== undefined) {
      const key = checked("apiKey", apiKey);
      if (key !== "") this.#fixed = [["x-api-key", key]];
    } else if (typeof token === "function") {
      this.#provider = token;
    } else if (token !== undefined) {
      this.#fixed = [bearer(token)];
    }
  }

  /** Whether a later call may have another token. */
  get isRenewed(): boolean {
    return this.#provider !== null;
  }

  /** Returns the headers of the next call. Throws errors of the provider, and as the constructor does. */
  async headers(): Promise<Headers> {
    return new Headers(this.#provider === null ? this.#fixed : [bearer(await this.#provider())]);
  }
}

function bearer(token: string): [string, string] {
  const text = checked("token", token);
  if (text === "") throw new RangeError("token is empty");
  return ["authorization", `Bearer ${text}`];
}

function checked(name: string, text: unknown): string {
  if (typeof text !== "string") throw new TypeError(`${name} is a string, not ${shown(text)}`);
  if (!PRINTABLE.test(text)) throw new RangeError(`${name} has characters that no header can have`);
  return text;
}
