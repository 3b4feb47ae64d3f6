/** The client continues after breaks that services and proxies make, and reports the others. */

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { QueryError, type QueryClient, type StreamOptions } from "../src/node.js";
import { fake, opened } from "./targets.js";

const NUMBERS = { table: "numbers" };
const all = Array.from({ length: 1_000 }, (_, index) => index);

after(() => opened.forEach((client) => client.close()));

async function numbersOf(client: QueryClient, options: StreamOptions = {}) {
  const stream = client.stream<{ n: string }>(NUMBERS, options);
  const numbers: number[] = [];
  const error: unknown = await (async () => {
    for await (const { n } of stream) numbers.push(Number(n));
    return null;
  })().catch((reason: unknown) => reason);
  return { numbers, error: error as QueryError | null, stream };
}

test("a stream continues after breaks with and without a status", async () => {
  const [client, waits] = fake("broken");
  const { numbers, error, stream } = await numbersOf(client);
  assert.deepEqual([numbers, error], [all, null]);
  assert.equal(stream.resumptions, 3);
  assert.deepEqual(waits, [100, 200, 100]);
});

test("a stream without its last message and without progress ends with an error", async () => {
  const [client, waits] = fake("silent");
  const { numbers, error } = await numbersOf(client);
  assert.deepEqual(numbers, all.slice(0, 100));
  assert.deepEqual([error?.code, error?.reason], ["UNAVAILABLE", "STREAM_INCOMPLETE"]);
  assert.equal(error?.resumeToken, "100:900");
  assert.equal(waits.length, 5);
});

test("a stream that breaks behind its last item is complete", async () => {
  const { numbers, error } = await numbersOf(fake("forgetful")[0]);
  assert.deepEqual([numbers, error], [all, null]);
});

test("a stream does not continue after a refusal", async () => {
  const { numbers, error } = await numbersOf(fake("refused")[0]);
  assert.deepEqual(numbers, all.slice(0, 100));
  assert.deepEqual([error?.code, error?.resumeToken], ["PERMISSION_DENIED", "100:900"]);
});

test("a stream continues with another token when its own has expired", async () => {
  let tokens = 0;
  const [client] = fake("expiring", { token: () => `token-${(tokens += 1)}` });
  const { numbers, error } = await numbersOf(client);
  assert.deepEqual([numbers, error, tokens], [all, null, 2]);
});

test("a stream continues where the service's time limit ended a call", async () => {
  const { numbers, error, stream } = await numbersOf(fake("limited")[0]);
  assert.deepEqual([numbers, error, stream.resumptions], [all, null, 0]);
  assert.equal(stream.stats.itemsScanned, 1_000);
});

test("a budget ends a stream with a token", async () => {
  const pages = fake("whole")[0].pages(NUMBERS, { budget: { maxScannedItems: 250 } });
  const ends: string[] = [];
  for await (const page of pages) ends.push(page.end);
  assert.deepEqual([ends, pages.resumeToken], [["PAGE_FULL", "PAGE_FULL", "SCAN_BUDGET"], "300:700"]);
});

test("a budget that is spent where the time limit ends a call ends the stream", async () => {
  const { numbers, error, stream } = await numbersOf(fake("limited")[0], { budget: { maxReadUnits: 100 } });
  assert.deepEqual([numbers, error, stream.resumeToken], [all.slice(0, 200), null, "200:800"]);
});

test("a deadline ends a stream with the token of its last page", async () => {
  const { numbers, error } = await numbersOf(fake("hanging")[0], { timeoutMs: 400 });
  assert.deepEqual(numbers, all.slice(0, 100));
  assert.deepEqual([error?.code, error?.resumeToken], ["DEADLINE_EXCEEDED", "100:900"]);
});

test("a call is made again after the pause that the service demands", async () => {
  const [client, waits] = fake("busy");
  assert.equal((await client.query(NUMBERS)).items.length, 100);
  assert.deepEqual(waits, [2_100]);
});

test("a call is not made again if the service asks for none", async () => {
  const [client, waits] = fake("spent");
  const error = await client.query(NUMBERS).catch((reason: unknown) => reason);
  assert.ok(error instanceof QueryError);
  assert.deepEqual([error.code, error.mayRetry, waits], ["UNAVAILABLE", false, []]);
});

test("an item too large for a message names the token behind it", async () => {
  const error = await fake("large")[0].query(NUMBERS).catch((reason: unknown) => reason);
  assert.ok(error instanceof QueryError);
  assert.deepEqual([error.reason, error.nextPageToken], ["ITEM_TOO_LARGE", "behind"]);
});

test("a count continues where the service's time limit ended a call", async () => {
  const count = await fake("counting")[0].count(NUMBERS);
  assert.deepEqual([count.value, count.exact, count.stats.backendCalls], [1_000, true, 4]);
});

test("deferred keys are requested again", async () => {
  const keys = Array.from({ length: 150 }, (_, index) => ({ n: index * 10 }));
  const { items } = await fake("deferring")[0].get<{ n: string }>("numbers", keys);
  assert.deepEqual(items, keys.map(({ n }) => (n < 1_000 ? { n: String(n) } : null)));
});

test("a stream that is left before its request sends none", async () => {
  const token = () => {
    void pages.return();
    return "token";
  };
  const pages = fake("left", { token })[0].pages(NUMBERS);
  assert.equal((await pages.next()).done, true);
});

test("reads have an affinity key, and the table is described once", async () => {
  const [client] = fake("affinity", { affinity: true });
  const query = { ...NUMBERS, expression: "n = :n", parameters: { n: 7 } };
  await client.query(query);
  await client.stream(query).next();
  await client.get("numbers", [{ n: 7 }]);
});
