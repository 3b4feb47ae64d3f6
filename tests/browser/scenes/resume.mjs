/** A stream that is cut: the client continues by itself, and after an outage the user does. */

import assert from "node:assert/strict";
import { ask, connect, exported, fact, play, run, settle } from "./stage.mjs";

await play(async ({ key, open }) => {
  const page = await open({ viewport: { width: 1280, height: 900 } });
  const all = (await ask({ do: "count" })).toLocaleString("en");
  await connect(page, key);
  await page.fill("#expression", "carrier IN ('B6', 'DL', 'UA')");
  await page.click(".options summary");
  await page.selectOption("#cache", "bypass");

  await ask({ do: "cut", once: true });
  await run(page, "complete", "failed");
  assert.equal(await fact(page, "items"), all);
  assert.equal(await fact(page, "resumed"), "1 ×");
  assert.equal(await ask({ do: "compare", csv: await exported(page, "csv"), json: await exported(page, "json") }), "equal");

  await ask({ do: "cut", once: false });
  await run(page, "complete", "failed");
  assert.match(await page.textContent(".state"), /Cut off/);
  const some = Number((await fact(page, "items")).replace(",", ""));
  assert.ok(some > 0 && some < Number(all.replace(",", "")));
  await page.locator(".notice.error").waitFor();
  await ask({ do: "heal" });
  await page.click("#continue");
  await settle(page, "complete");
  assert.equal(await fact(page, "items"), all);
  assert.equal(await page.locator(".notice.error").count(), 0);
  assert.equal(await ask({ do: "compare", csv: await exported(page, "csv"), json: await exported(page, "json") }), "equal");
});
