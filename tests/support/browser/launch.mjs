/** Starts the Chromium that tests/support/chromium.py has found. */

import { chromium } from "playwright-core";

/** Returns a new browser, without a page. */
export function launch() {
  const { CHROMIUM, CHROMIUM_FLAGS } = process.env;
  return chromium.launch({ executablePath: CHROMIUM, args: CHROMIUM_FLAGS.split(" ") });
}
