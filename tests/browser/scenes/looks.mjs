/** The states of the console in light, in dark and on a phone: no serious violation of axe's rules. */

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { connect, play, run } from "./stage.mjs";

const AXE = createRequire(import.meta.url).resolve("axe-core");
/** The settings of the browser, and the distance that a flight of the query has at least. */
const LOOKS = [
  { name: "light", distance: 100, colorScheme: "light", viewport: { width: 1120, height: 720 } },
  { name: "dark", distance: 101, colorScheme: "dark", viewport: { width: 1120, height: 720 } },
  { name: "phone", distance: 102, colorScheme: "light", viewport: { width: 390, height: 844 } },
];
const [, , , , length, pictures] = process.argv;
// In dark and on a phone a short run looks at these states only.
const SHORT = ["mistake", "items", "cost"];
const BELOW = ["explain", "cost", "code"];

await play(async ({ key, open }) => {
  for (const { name, distance, ...options } of LOOKS) {
    const page = await open({ ...options, bypassCSP: true }); // For axe; walk.mjs obeys the policy.
    const look = (state) => inspect(page, name, state);
    await look("key");
    await connect(page, key);
    await page.fill("#expression", "carrier = :carrier AND dep_delay >> 60");
    await page.fill("[aria-label='Value of carrier']", "UA");
    await page.click("#explain");
    await page.locator(".diagnostic").waitFor();
    await look("mistake");
    await page.fill("#expression", "carrier = :carrier AND dep_delay > 60");
    await page.click("#explain");
    await page.locator(".tree").waitFor();
    await look("explain");
    // Another query in each look, so that none is answered from the cache.
    await page.fill("#expression", `carrier IN ('B6', 'DL', 'UA') AND distance > ${distance}`);
    await run(page, "complete");
    await look("items");
    await page.focus("#expression");
    await page.keyboard.press("End");
    await page.keyboard.type(" AND d");
    await page.getByRole("option").first().waitFor();
    await look("completion");
    await page.keyboard.press("Escape");
    await page.click("#tab-cost");
    await page.locator(".chart rect").first().waitFor();
    await look("cost");
    await page.click("#tab-code");
    await look("code");
    await page.click("#tab-rows");
    await page.locator("#row-3").click();
    await page.getByRole("dialog").waitFor();
    await look("item");
    await page.close();
  }
});

async function inspect(page, look, state) {
  await page.mouse.move(0, 0);
  await page.evaluate(() => new Promise((resolve) => { requestAnimationFrame(() => requestAnimationFrame(resolve)); }));
  if (length === "short" && look !== "light" && !SHORT.includes(state)) return;
  if (pictures) await picture(page, look, state);
  const width = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(width <= 0, `${look}, ${state}: the page is ${width} pixels too wide`);
  await page.addScriptTag({ path: AXE });
  const { violations } = await page.evaluate(() => axe.run({ resultTypes: ["violations"] }));
  const serious = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  const found = serious.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map(({ target, failureSummary }) => `${target} ${failureSummary}`).join("; ")}`);
  assert.deepEqual(found, [], `${look}, ${state}`);
}

/** Writes a picture for the documentation; results are scrolled into it where they are its subject. */
async function picture(page, look, state) {
  const isBelow = BELOW.includes(state) || (look === "phone" && state === "items");
  await page.evaluate((below) => (below ? document.querySelector(".results").scrollIntoView() : scrollTo(0, 0)), isBelow);
  await page.screenshot({ path: `${pictures}/console-${state}-${look}.png` });
}
