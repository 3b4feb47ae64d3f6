/** What all scenes need: the browser, the console's address, a key, and requests to the test. */

import { createInterface } from "node:readline";
import { launch } from "./launch.mjs";

const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Asks the test to do something, and returns its answer. */
export async function ask(request) {
  process.stdout.write(`${JSON.stringify(request)}\n`);
  const { value } = await answers.next();
  return JSON.parse(value);
}

/** Plays a scene in a new browser. It gets the console's address, a valid key, and `open`. */
export async function play(scene) {
  const [url, key] = process.argv.slice(2);
  const browser = await launch();
  try {
    await scene({ url, key, open: (options) => openPage(browser, url, options) });
  } finally {
    await browser.close();
  }
  process.exit(0); // The pipe from the test is still open.
}

/** Returns a page that shows the console, and what went wrong in it so far. */
async function openPage(browser, url, options) {
  const page = await browser.newPage(options);
  page.setDefaultTimeout(60_000);
  const problems = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) problems.push(message.text());
  });
  page.on("pageerror", (error) => problems.push(String(error)));
  page.problems = problems;
  page.origins = new Set();
  page.on("request", (request) => {
    if (!request.url().startsWith("blob:")) page.origins.add(new URL(request.url()).origin);
  });
  // Pauses before retries are random parts of a bound. None may be too short for Envoy's next check.
  await page.addInitScript(() => { Math.random = () => 0.5; });
  await page.goto(url);
  return page;
}

/** Enters a key, and waits for the keys of the first table. */
export async function connect(page, key) {
  await page.fill("#api-key", key);
  await page.keyboard.press("Enter");
  await page.waitForSelector(".schema .keys", { state: "attached" });
}

/** Chooses a table, and waits for its keys. */
export async function choose(page, table) {
  await page.locator(".tables").getByText(table, { exact: true }).click();
  await page.waitForSelector(".schema .keys", { state: "attached" });
}

/** Runs the query in the form, and waits for one of some states. */
export async function run(page, ...phases) {
  // What changes is drawn with the next frame. Until then the state of the query before is there.
  await page.evaluate(() => new Promise((resolve) => {
    requestAnimationFrame(() => requestAnimationFrame(() => {
      document.querySelector(".state").dataset.phase = "before";
      resolve();
    }));
  }));
  await page.click("#run");
  await settle(page, ...phases);
}

/** Waits until the query under way has one of some states. */
export async function settle(page, ...phases) {
  const isThere = (wanted) => wanted.includes(document.querySelector(".state").dataset.phase);
  await page.waitForFunction(isThere, phases);
}

/** Returns a fact of the live line: `items`, `pages`, `units`, `cache`. */
export function fact(page, name) {
  return page.textContent(`#fact-${name}`);
}

/** Exports the items, and returns the path of the file. */
export async function exported(page, form) {
  const [download] = await Promise.all([page.waitForEvent("download"), page.click(`#export-${form}`)]);
  return { name: download.suggestedFilename(), path: await download.path() };
}
