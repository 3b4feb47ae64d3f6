/** Checks the address of a client. */

import { shown } from "./checks.js";

/** Returns the address without a slash at its end. Throws TypeError or RangeError if it is none. */
export function baseUrlOf(baseUrl: unknown): string {
  if (typeof baseUrl !== "string") throw new TypeError(`baseUrl is a string, not ${shown(baseUrl)}`);
  if (!URL.canParse(baseUrl) || !/^https?:\/\//.test(baseUrl)) {
    throw new RangeError(`baseUrl is like "http://host:port", not ${shown(baseUrl)}`);
  }
  return baseUrl.replace(/\/+$/, "");
}
