/** The client reads from the real service. */

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { connectionFailure } from "../src/connection_errors.js";
import { createQueryClient, number, QueryError, type Item } from "../src/node.js";
import { cutting, opened, real, targets } from "./targets.js";

const ITEMS = 300;
const EVENTS = { table: "events", expression: "user_id = :u", parameters: { u: "u-1" } };

after(() => opened.forEach((client) => client.close()));

const numbered = (items: Item[]) => items.map((item) => Number(item["seq"]));
const all = Array.from({ length: ITEMS }, (_, seq) => seq);

test("a page has items, its end, its cost and its source", async () => {
  const client = real();
  const page = await client.query(EVENTS, { pageSize: 3, total: "exact" });
  assert.deepEqual(numbered(page.items), [0, 1, 2]);
  assert.equal(page.end, "PAGE_FULL");
  assert.deepEqual(page.total, { value: ITEMS, exact: true });
  assert.equal(page.cache.status, "MISS");
  assert.ok(page.stats.readUnits > 0);
  assert.ok(page.readTime instanceof Date);
  const next = await client.query(EVENTS, { pageSize: 2, pageToken: page.nextPageToken });
  assert.deepEqual(numbered(next.items), [3, 4]);
});

test("an item has a value of JavaScript for each type", async () => {
  const query = { table: "events", expression: "user_id = 'values'" };
  const { items } = await real().query(query);
  assert.deepEqual(items, [
    {
      data: new Uint8Array([0, 255]),
      list: ["x", "0", null, []],
      map: { "a.b": {}, "x y": false },
      nothing: null,
      numbers: new Set(["1", "2.5"]),
      pieces: new Set([new Uint8Array([0]), new Uint8Array([255])]),
      seq: "-1234567890.0123456789012345678",
      user_id: "values",
      words: new Set(["a", "b"]),
      yes: true,
    },
  ]);
  const [tagged] = (await real({ numbers: number }).query(query)).items;
  const key = { user_id: tagged!["user_id"], seq: tagged!["seq"] } as { user_id: string };
  assert.deepEqual((await real().get("events", [key])).items, items);
});

test("pages and stream deliver every item in order", async () => {
  const client = real();
  const pages = client.pages(EVENTS, { pageSize: 100, total: 50 });
  const items: Item[] = [];
  for await (const page of pages) items.push(...page.items);
  assert.deepEqual(numbered(items), all);
  assert.equal(pages.resumeToken, "");
  assert.equal(pages.resumptions, 0);
  assert.deepEqual(pages.total, { value: 50, exact: false });
  assert.equal(pages.stats.itemsReturned, ITEMS);
  assert.equal((await pages.next()).done, true);

  const stream = client.stream<{ seq: number }>({ ...EVENTS, order: "descending", maxItems: 5 }, { pageSize: 2 });
  const seqs: number[] = [];
  for await (const { seq } of stream) seqs.push(Number(seq));
  assert.deepEqual(seqs, [299, 298, 297, 296, 295]);
});

test("a stream that is left can be continued from its token", async () => {
  const client = real();
  const pages = client.pages(EVENTS, { pageSize: 100 });
  for await (const page of pages) {
    assert.equal(page.items.length, 100);
    break;
  }
  const rest: Item[] = [];
  for await (const item of client.stream(EVENTS, { resumeToken: pages.resumeToken })) rest.push(item);
  assert.deepEqual(numbered(rest), all.slice(100));

  const stream = client.stream(EVENTS, { pageSize: 100 });
  await stream.next();
  assert.equal(stream.resumeToken, "", "in the middle of the first page its own token counts");
  for (let left = 99; left > 0; left -= 1) await stream.next();
  const { resumeToken } = stream;
  await stream.return();
  assert.equal((await stream.next()).done, true);
  const next = await client.query(EVENTS, { pageToken: resumeToken, pageSize: 1 });
  assert.deepEqual(numbered(next.items), [100]);
});

test("a connection that breaks again and again loses and repeats no item", async () => {
  const proxy = await cutting(60_000);
  const sleep = () => Promise.resolve();
  const client = real({ baseUrl: proxy.baseUrl, resume: { sleep } });
  const stream = client.stream(EVENTS, { pageSize: 10, cache: { mode: "bypass" } });
  const items: Item[] = [];
  try {
    for await (const item of stream) items.push(item);
  } finally {
    proxy.close();
  }
  assert.deepEqual(numbered(items), all);
  assert.ok(proxy.cuts() >= 3, `${proxy.cuts()} cuts`);
  assert.ok(stream.resumptions >= 3, `${stream.resumptions} resumptions`);
});

test("count, get, explain, tables and table return the service's answers", async () => {
  const client = real();
  const count = await client.count(EVENTS);
  assert.deepEqual([count.value, count.exact, count.end], [ITEMS, true, "EXHAUSTED"]);
  const bounded = await client.count(EVENTS, { upTo: 10 });
  assert.deepEqual([bounded.value, bounded.exact], [10, false]);

  const keys = Array.from({ length: 150 }, (_, index) => ({ user_id: "u-1", seq: index * 3 }));
  const found = await client.get<{ seq: string }>("events", keys, { projection: ["seq"], consistent: true });
  assert.deepEqual(
    found.items.map((item) => item && Number(item.seq)),
    keys.map(({ seq }) => (seq < ITEMS ? seq : null)),
  );
  assert.ok(found.stats.readUnits > 0);

  const plan = await client.explain({ ...EVENTS, expression: "user_id = :u AND size(text) > 5" });
  assert.equal(plan.path, "TABLE");
  assert.equal(plan.keyCondition, "user_id = 'u-1'");
  assert.match(plan.filterExpression, /size/);

  assert.deepEqual(await client.tables(), [
    { name: "events", description: "Events of users." },
    { name: "flights", description: "The table of the example." },
  ]);
  const table = await client.table("events");
  assert.deepEqual(table.key.partition, [{ name: "user_id", type: "STRING", template: "" }]);
  assert.deepEqual(table.key.sort, [{ name: "seq", type: "NUMBER", template: "" }]);
  assert.equal(table.allowScan, false);
});

test("an error has its status, reason, violations and column", async () => {
  const client = real();
  const wrong = await failure(client.query({ ...EVENTS, expression: "user_id = :u AND seq => 3" }));
  assert.deepEqual([wrong.code, wrong.reason], ["INVALID_ARGUMENT", "INVALID_REQUEST"]);
  assert.deepEqual(wrong.violations.map(({ subject, column }) => [subject, column]), [["query.expression", 23]]);
  assert.match(`${wrong}`, /^INVALID_ARGUMENT \(INVALID_REQUEST\): /);
  assert.notEqual(wrong.requestId, "");

  const scan = await failure(client.explain({ table: "events" }));
  assert.deepEqual([scan.code, scan.reason], ["FAILED_PRECONDITION", "SCAN_NOT_ALLOWED"]);
  const missing = await failure(client.stream({ table: "nothing" }).next());
  assert.deepEqual([missing.code, missing.reason], ["NOT_FOUND", "TABLE_NOT_FOUND"]);
  const stranger = await failure(real({ apiKey: undefined }).tables());
  assert.deepEqual([stranger.code, stranger.reason], ["UNAUTHENTICATED", "UNAUTHENTICATED"]);
});

test("a provider gives the token of each call", async () => {
  let calls = 0;
  const token = () => {
    calls += 1;
    return Promise.resolve(targets.apiKey);
  };
  const client = real({ apiKey: undefined, token });
  await client.tables();
  await client.tables();
  assert.equal(calls, 2);
  const failing = real({ apiKey: undefined, token: () => Promise.reject(new Error("no token today")) });
  await assert.rejects(failing.tables(), /no token today/);
});

test("an aborted signal ends a call with its reason", async () => {
  const client = real();
  const reason = new Error("the user left");
  await assert.rejects(client.query(EVENTS, { signal: AbortSignal.abort(reason) }), reason);
  const controller = new AbortController();
  const pages = client.pages(EVENTS, { pageSize: 1, signal: controller.signal });
  await pages.next();
  controller.abort(reason);
  await assert.rejects(pages.next(), reason);
  assert.equal((await pages.next()).done, true);
});

test("a signal that is aborted during a pause ends the call", async () => {
  const controller = new AbortController();
  const reason = new Error("the user left");
  let pauses = 0;
  const sleep = () => {
    pauses += 1;
    controller.abort(reason);
    return Promise.resolve();
  };
  const client = real({ baseUrl: "http://127.0.0.1:9", resume: { sleep } });
  await assert.rejects(client.tables({ signal: controller.signal }), reason);
  assert.equal(pauses, 1);
});

test("a closed client refuses calls and ends streams", async () => {
  const client = real();
  const pages = client.pages(EVENTS, { pageSize: 1 });
  await pages.next();
  client.close();
  assert.equal((await failure(pages.next())).reason, "CLIENT_CLOSED");
  assert.equal((await failure(client.tables())).code, "CANCELLED");
});

test("an unreachable service is UNAVAILABLE after two retries", async () => {
  const waits: number[] = [];
  const sleep = (milliseconds: number) => {
    waits.push(milliseconds);
    return Promise.resolve();
  };
  const client = real({ baseUrl: "http://127.0.0.1:9", resume: { sleep, random: () => 1 } });
  const error = await failure(client.tables());
  assert.deepEqual([error.code, error.reason], ["UNAVAILABLE", "CONNECTION_FAILED"]);
  assert.deepEqual(waits, [200, 400]);
});

test("a connection with TLS needs the authority and the certificate of the caller", async () => {
  const { ca, cert, key, secure } = targets;
  const numbers = { table: "numbers", maxItems: 3 };
  const sleep = () => Promise.resolve();
  const options = { baseUrl: `https://${secure}`, resume: { sleep } };
  const page = await real({ ...options, nodeOptions: { ca, cert, key } }).query(numbers);
  assert.equal(page.items.length, 3);
  const distrusting = await failure(real({ ...options, nodeOptions: { cert, key } }).query(numbers));
  assert.deepEqual([distrusting.code, distrusting.reason], ["UNAVAILABLE", "CONNECTION_FAILED"]);
  assert.match(distrusting.message, /certificate/);
  const anonymous = await failure(real({ ...options, nodeOptions: { ca } }).query(numbers));
  assert.equal(anonymous.reason, "CONNECTION_FAILED");
});

test("TLS to a port without it, and a refused handshake, are errors in words", async () => {
  const sleep = () => Promise.resolve();
  const plain = await failure(real({ baseUrl: `https://${targets.real}`, resume: { sleep } }).tables());
  assert.deepEqual([plain.code, plain.reason], ["UNAVAILABLE", "CONNECTION_FAILED"]);
  assert.equal(
    plain.message,
    "the connection failed: the server does not speak TLS on this port: check the port, or use http:// in baseUrl",
  );
  const alert = "write EPROTO 40F7:error:0A000410:SSL routines:ssl3_read_bytes:ssl/tls alert handshake failure:../deps/x.c:1605:";
  assert.equal(connectionFailure(alert), "the TLS handshake failed: ssl/tls alert handshake failure");
  assert.equal(connectionFailure("connect ECONNREFUSED"), "connect ECONNREFUSED");
});

test("wrong options are refused before any call", async () => {
  const client = real();
  await assert.rejects(client.query(EVENTS, { pagesize: 1 } as never), /no property "pagesize"/);
  await assert.rejects(client.query(EVENTS, { timeoutMs: 0 }), /timeoutMs is more than 0/);
  await assert.rejects(client.query(EVENTS, { budget: { maxReadUnits: 0 } }), /maxReadUnits is more than 0/);
  await assert.rejects(client.query(EVENTS, { cache: { mode: "no" as never } }), /cache.mode is one of/);
  await assert.rejects(client.query(EVENTS, { total: "all" as never }), /total is "exact" or a number/);
  await assert.rejects(client.get("events", "u-1" as never), /an array of keys/);
  assert.throws(() => client.pages(EVENTS, { pageToken: "x" } as never), /no property "pageToken"/);
  assert.throws(() => createQueryClient({ baseUrl: "localhost:50051" }), /baseUrl is like/);
  assert.throws(() => real({ token: "t" }), /apiKey or token, not both/);
  assert.throws(() => real({ apiKey: "a\nb" }), /characters that no header can have/);
  assert.throws(() => real({ numbers: "bigint" as never }), /numbers is one of/);
  assert.throws(() => real({ resume: { attempts: -1 } }), /attempts is 0 or more/);
});

async function failure(call: Promise<unknown>): Promise<QueryError> {
  const error = await call.then(
    () => null,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof QueryError, String(error));
  return error;
}
