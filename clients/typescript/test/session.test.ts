/** Sessions send the tokens and times that later reads need; pytest checks the requests of the fakes. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";
import type { QueryError } from "../src/node.js";
import { MAX_TOKENS, SessionState } from "../src/session_state.js";
import { fake, opened } from "./targets.js";

interface Vectors {
  cases: { name: string; state: { tokens: Record<string, string[]>; written: Record<string, number> }; token: string }[];
  wrong: string[];
}

const NUMBERS = { table: "numbers" };
const WRITTEN = new Date("2026-01-31T12:00:00.500Z");
const vectors = JSON.parse(readFileSync(process.env["SESSION_CASES"]!, "utf8")) as Vectors;

after(() => opened.forEach((client) => client.close()));

for (const { name, state, token } of vectors.cases) {
  test(`a session has the text of its vector: ${name}`, () => {
    const session = new SessionState(undefined);
    for (const [table, tokens] of Object.entries(state.tokens)) {
      for (const one of tokens) session.record(table, [], one);
    }
    for (const [table, time] of Object.entries(state.written)) session.wrote(table === "" ? [] : [table], time);
    assert.equal(session.toText(), token);
    const read = new SessionState(token);
    assert.equal(read.toText(), token);
    for (const table of [...Object.keys(state.tokens), ...Object.keys(state.written), "another"]) {
      assert.deepEqual(read.bounds(table), session.bounds(table));
    }
  });
}

test("other text is refused", () => {
  const [client] = fake("session");
  for (const text of [...vectors.wrong, "A".repeat(65_537)]) {
    assert.throws(() => client.session(text), /not the token of a session/, text);
  }
  assert.throws(() => client.session(null as never), /token is a string/);
});

test("too many tokens become a time", () => {
  const session = new SessionState(undefined, () => 5);
  for (let number = 0; number < MAX_TOKENS; number += 1) session.record("t", [], `${number}`);
  assert.equal(session.bounds("t").written, null);
  session.record("t", [], "last");
  assert.deepEqual(session.bounds("t"), { tokens: [], written: 5 });
  assert.deepEqual(session.bounds("u"), { tokens: [], written: null });
});

test("a write after an answer is a bound, whatever the clock says", () => {
  for (const first of [5, 9]) {
    for (const table of ["t", ""]) {
      const session = new SessionState(undefined, () => 5);
      session.wrote(["t"], first);
      session.record("t", [], "a", first);
      assert.equal(session.bounds("t").written, null);
      session.wrote(table === "" ? [] : [table]);
      assert.equal(session.bounds("t").written, first + 1);
    }
  }
});

test("reads that overlap lose no token, and another session continues", async () => {
  const [client] = fake("session");
  const session = client.session();
  assert.equal(session.token, "");
  const pages = await Promise.all([session.query(NUMBERS), session.query(NUMBERS)]);
  assert.deepEqual(pages.map((page) => page.freshnessToken).sort(), ["a", "b"]);
  assert.equal((await session.query(NUMBERS)).freshnessToken, "c");
  session.wrote("numbers", WRITTEN);
  assert.equal((await session.count(NUMBERS)).freshnessToken, "d");
  const following = client.session(session.token);
  await following.query(NUMBERS, { cache: { mode: "refresh", notBefore: new Date(0), notBeforeToken: "given" } });
  assert.equal((await following.get("numbers", [{ n: 1 }])).freshnessToken, "f");
  assert.throws(() => session.wrote("numbers", new Date(NaN)), /at is an invalid Date/);
  assert.throws(() => session.wrote("numbers", 5 as never), /at is a Date/);
  await assert.rejects(client.query(NUMBERS, { cache: { notBefore: "now" as never } }), /cache.notBefore is a Date/);
});

test("a resumed stream sends the bounds of that moment", async () => {
  const session = fake("session stream")[0].session();
  const stream = session.stream(NUMBERS, { pageSize: 400 });
  assert.equal(stream.freshnessToken, "");
  let items = 0;
  for await (const _ of stream) items += 1;
  assert.equal(items, 1_000);
  assert.equal(stream.freshnessToken, "c");
  assert.equal(stream.resumptions, 1);
});

test("tokens that the service cannot read are replaced by the time", async () => {
  const [client] = fake("unreadable");
  await assert.rejects(client.query(NUMBERS), (error: QueryError) => error.code === "INVALID_ARGUMENT");
  assert.equal((await client.session().query(NUMBERS)).freshnessToken, "a");
});
