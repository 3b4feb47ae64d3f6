/** A user's way through the console: connect, a mistake, the plan, all items, code, files. */

import assert from "node:assert/strict";
import { ask, choose, connect, exported, fact, play, run } from "./stage.mjs";

const FLIGHTS = "carrier IN ('B6', 'DL', 'UA')";

await play(async ({ url, key, open }) => {
  const page = await open({ viewport: { width: 1280, height: 900 } });
  await connectWithKey(page, key);
  await correctMistake(page);
  await explain(page);
  await readAll(page);
  await useKeyboard(page);
  await seeCost(page);
  await runCode(page);
  await exportOddValues(page);
  await findOddValues(page);
  await forget(page, key);
  assert.deepEqual(page.problems, []);
  const gateway = await ask({ do: "gateway" });
  assert.deepEqual([...page.origins].sort(), [new URL(url).origin, gateway].sort());
});

async function connectWithKey(page, key) {
  await page.fill("#api-key", "ddbp_wrong");
  await page.click("#connect");
  await page.getByText("The key was refused").waitFor();
  await connect(page, key);
  assert.deepEqual(await page.locator(".tables button").allTextContents(), ["flights", "odd"]);
  await isOnlyInMemory(page, key);
}

async function isOnlyInMemory(page, key) {
  const stored = await page.evaluate(async () => [
    localStorage.length, sessionStorage.length, document.cookie, (await indexedDB.databases()).length,
    (await caches.keys()).length, location.href, document.documentElement.outerHTML,
    ...Array.from(document.querySelectorAll("input"), (input) => input.value),
  ].map(String));
  assert.deepEqual(stored.slice(0, 5), ["0", "0", "", "0", "0"]);
  for (const text of stored) assert.ok(!text.includes(key));
}

async function correctMistake(page) {
  await page.focus("#expression");
  await page.keyboard.type("car");
  await page.getByRole("option", { name: "carrier" }).waitFor();
  await page.keyboard.press("Enter");
  assert.equal(await page.inputValue("#expression"), "carrier");
  await page.keyboard.type(" = 'UA' AND dep_delay >> 60");
  await page.keyboard.press("Escape");
  await page.keyboard.press("Control+Enter");
  await page.getByRole("button", { name: "Column 31" }).waitFor();
  // The sign below the error is under the column of the error, in the text as in the copy below it.
  const [wrong, caret] = await Promise.all([".editor-copy .wrong", ".diagnostic .caret"].map((one) => page.locator(one).boundingBox()));
  assert.ok(Math.abs(wrong.x - caret.x) < 1, `${wrong.x} and ${caret.x}`);
  assert.equal(await page.getAttribute("#expression", "aria-invalid"), "true");
  await page.getByRole("button", { name: "Column 31" }).click();
  await page.keyboard.press("Delete");
  assert.equal(await page.locator(".diagnostic").count(), 0);
}

async function explain(page) {
  await page.keyboard.press("Control+Shift+Enter");
  const tree = page.locator(".tree");
  await tree.waitFor();
  const text = await tree.innerText();
  assert.match(text, /Query of the table/);
  assert.match(text, /carrier = 'UA'/);
  assert.match(text, /dep_delay > 60/);
  assert.match(await tree.locator(".rejected").innerText(), /by_aircraft\s+the condition does not fix tailnum/);
}

async function readAll(page) {
  const count = await ask({ do: "count" });
  await page.fill("#expression", FLIGHTS);
  await run(page, "complete");
  assert.equal(await fact(page, "items"), count.toLocaleString("en"));
  assert.equal(await fact(page, "cache"), "miss");
  const units = Number(await fact(page, "units"));
  assert.ok(units > 0);
  // Only some rows are in the document, wherever the user scrolls.
  for (const name of ["1", String(count)]) {
    await page.locator("#rows .row-number").getByText(name, { exact: true }).waitFor();
    assert.ok(await page.locator("#rows tbody tr").count() < 80);
    await page.locator(".grid").evaluate((grid) => { grid.scrollTop = grid.scrollHeight; });
  }
  await run(page, "complete");
  // On a slow machine a page may end early, and such a page is not stored.
  assert.match(await fact(page, "cache"), /^hit/);
  assert.ok(Number(await fact(page, "units")) < units);
  const files = { csv: await exported(page, "csv"), json: await exported(page, "json") };
  assert.equal(files.csv.name, "flights.csv");
  assert.equal(await ask({ do: "compare", ...files }), "equal");
}

async function useKeyboard(page) {
  await page.focus("#rows");
  await page.keyboard.press("End");
  await page.keyboard.press("ArrowUp");
  await page.keyboard.press("Enter");
  const dialog = page.getByRole("dialog");
  assert.match(await dialog.innerText(), /"carrier": "(B6|DL|UA)"/);
  await page.keyboard.press("Escape");
  assert.equal(await page.getByRole("dialog").count(), 0);
  const count = await ask({ do: "count" });
  await page.waitForFunction((id) => document.querySelector("#rows").getAttribute("aria-activedescendant") === id, `row-${count - 2}`);
  await page.focus("#tab-rows");
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowRight");
  assert.equal(await page.getAttribute("#tab-cost", "aria-selected"), "true");
}

async function seeCost(page) {
  const pages = Number(await fact(page, "pages"));
  await page.waitForFunction((wanted) => document.querySelectorAll(".chart rect").length === wanted, pages);
  assert.equal(await page.locator(".chart circle").count(), pages);
  await page.click(".charts summary");
  await page.waitForFunction((wanted) => document.querySelectorAll(".charts tbody tr").length === wanted, pages);
}

async function runCode(page) {
  await page.fill("#expression", "carrier = :carrier AND dep_delay > :delay AND dest <> :not");
  await page.fill("[aria-label='Value of carrier']", "UA");
  await page.selectOption("[aria-label='Type of delay']", "number");
  await page.fill("[aria-label='Value of delay']", "60");
  await page.fill("[aria-label='Value of not']", "it's \"a\" \\ $HOME `id` \u001b é");
  await page.click(".options summary");
  await page.selectOption("#order", "descending");
  await page.fill("#page-size", "7");
  await page.fill("#max-items", "20");
  await run(page, "complete");
  assert.equal(await fact(page, "items"), "20");
  await page.click("#tab-code");
  for (const form of ["grpcurl", "curl", "Python", "TypeScript"]) {
    await page.getByLabel(form, { exact: true }).check();
    const text = await page.textContent(".code-panel pre");
    assert.equal(await ask({ do: "run", form, text }), 20, form);
  }
}

async function exportOddValues(page) {
  await choose(page, "odd");
  assert.equal(await page.locator(".state").textContent(), "Ready");
  assert.match(await page.textContent(".code-panel pre"), /"odd"/);
  await page.click("#tab-rows");
  await page.fill("#expression", "id = 'a'");
  await page.fill("#max-items", "");
  await page.selectOption("#order", "ascending");
  await run(page, "complete");
  assert.equal(await page.locator("#rows img").count(), 0);
  const files = { csv: await exported(page, "csv"), json: await exported(page, "json") };
  assert.equal(await ask({ do: "compare odd", ...files }), "equal");
}

async function findOddValues(page) {
  await page.fill("#expression", "id = 'a' AND ");
  await page.focus("#expression");
  await page.keyboard.press("End");
  await page.keyboard.type("tw");
  await page.getByRole("option", { name: "two words" }).waitFor();
  await page.keyboard.press("Tab");
  await page.keyboard.type(" = :map AND bytes = :bytes AND flag = :flag");
  await page.selectOption("[aria-label='Type of map']", "json");
  await page.fill("[aria-label='Value of map']", "{");
  await page.click("#run");
  await page.getByText(":map: this is not JSON").waitFor();
  await page.fill("[aria-label='Value of map']", '{"n": 12345678901234567890, "l": [null, "x"]}');
  await page.selectOption("[aria-label='Type of bytes']", "binary");
  await page.fill("[aria-label='Value of bytes']", "/wA=");
  await page.selectOption("[aria-label='Type of flag']", "boolean");
  await run(page, "complete");
  assert.equal(await page.inputValue("#expression"), "id = 'a' AND \"two words\" = :map AND bytes = :bytes AND flag = :flag");
  assert.equal(await fact(page, "items"), "1");
}

async function forget(page, key) {
  await page.click("#forget");
  await page.waitForSelector("#api-key");
  assert.equal(await page.locator("#rows").count(), 0);
  await isOnlyInMemory(page, key);
}
