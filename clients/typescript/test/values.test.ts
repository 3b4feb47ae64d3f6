/** Values of JavaScript survive the way to the service and back. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { ItemSchema } from "../src/gen/dynamodb_processor/v1/value_pb.js";
import { binary, number, numberSet, NumberText, type NumberForm } from "../src/index.js";
import { querySpec } from "../src/query.js";
import { decodeItem, encodeKey } from "../src/values.js";

function returned(values: object, numbers: NumberForm = number): unknown {
  const item = encodeKey("item", values);
  return decodeItem(fromBinary(ItemSchema, toBinary(ItemSchema, item)), numbers);
}

test("values of every type come back", () => {
  const item = {
    ["__proto__"]: "a name like any other",
    binary: new Uint8Array([0, 255]),
    binarySet: new Set([new Uint8Array([1]), new Uint8Array()]),
    bool: false,
    list: ["x", number("0"), null, []],
    map: { "a.b": {}, "x y": true },
    null: null,
    number: number("-1234567890.0123456789012345678"),
    numberSet: numberSet(["1", "2.5"]),
    string: "grün ✓ \u0001 \"'\\ 😀",
    stringSet: new Set(["a", "b"]),
  };
  assert.deepEqual(returned(item), item);
});

test("inputs have a type of DynamoDB", () => {
  const given = {
    bigint: 12345678901234567890n,
    buffer: new Uint8Array([1, 2]).buffer,
    base64: binary("aGk="),
    date: new Date("2026-01-31T08:30:00Z"),
    fraction: 0.1,
    map: new Map([["x", 1]]),
    millis: new Date("2026-01-31T08:30:00.250Z"),
    zero: -0,
  };
  assert.deepEqual(returned(given, "string"), {
    base64: new Uint8Array([104, 105]),
    bigint: "12345678901234567890",
    buffer: new Uint8Array([1, 2]),
    date: "2026-01-31T08:30:00Z",
    fraction: "0.1",
    map: { x: "1" },
    millis: "2026-01-31T08:30:00.250Z",
    zero: "0",
  });
});

test("numbers have the form that the option says", () => {
  const texts = ["1", "1.50", "0.1", "-7E+2", "9007199254740993", "9007199254740992", "1E-130", "0.10000000000000000001"];
  const list = texts.map(number);
  const read = (form: NumberForm) => (returned({ list }, form) as { list: unknown[] }).list;
  assert.deepEqual(read("string"), texts);
  assert.deepEqual(read("number"), [
    1, 1.5, 0.1, -700, "9007199254740993", "9007199254740992", 1e-130, "0.10000000000000000001",
  ]);
  assert.deepEqual(read(Number), texts.map(Number));
  assert.ok(read(number).every((one) => one instanceof NumberText));
  assert.equal(JSON.stringify(number("1.50")), '"1.50"');
});

test("values that DynamoDB does not have are refused with their path", () => {
  const refusals: [unknown, RegExp][] = [
    [undefined, /item\.x: DynamoDB has no type for undefined/],
    [() => 1, /item\.x: DynamoDB has no type for a function/],
    [new (class Flight {})(), /item\.x: DynamoDB has no type for a Flight/],
    [[1, [Number.NaN]], /item\.x\[1\]\[0\]: DynamoDB has no number NaN/],
    [{ y: 2 ** 53 }, /item\.x\.y: 9007199254740992 may have lost digits/],
    [10n ** 126n, /out of DynamoDB's range/],
    [10n ** 38n + 1n, /at most 38 digits/],
    [new Set(), /no empty sets/],
    [new Set(["a", 1]), /not several of them/],
    [new Set([[]]), /a set holds no an array/],
    ["\ud800", /half a surrogate pair/],
    [new Date(Number.NaN), /a time has a year/],
    [new Map([[1, 1]]), /a name is a string, not 1/],
  ];
  for (const [value, message] of refusals) {
    assert.throws(() => returned({ x: value }), message);
  }
  let deep: unknown = [];
  for (let level = 0; level < 40; level += 1) deep = [deep];
  assert.throws(() => returned({ deep }), /at most 32 levels/);
  assert.throws(() => number("1_000"), /is not a number/);
  assert.throws(() => number(1 as never), TypeError);
  assert.throws(() => binary("*"), /is not base64/);
});

test("a misspelt or wrong field of a query is refused", () => {
  assert.throws(() => querySpec({ table: "t", max_items: 5 } as never), /no property "max_items"/);
  assert.throws(() => querySpec("t" as never), /a query is an object/);
  assert.throws(() => querySpec({ table: "t", maxItems: 1.5 }), /maxItems is an integer/);
  assert.throws(() => querySpec({ table: "t", order: "up" as never }), /order is one of/);
  assert.throws(() => querySpec({ table: "t", projection: "a" as never }), /array of strings/);
  assert.throws(() => querySpec({ table: "t", consistent: 1 as never }), /true or false/);
  assert.throws(() => querySpec({ table: "t", parameters: [1] as never }), /an object of values/);
});
