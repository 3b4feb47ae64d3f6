/** Affinity keys are those of tests/cases/affinity.json, which other clients compute as well. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fromJson, type JsonObject, type JsonValue } from "@bufbuild/protobuf";
import { affinityKey, getText, queryText, valueText } from "../src/affinity.js";
import { QuerySpecSchema } from "../src/gen/dynamodb_processor/v1/query_pb.js";
import { AttributeValueSchema, ItemSchema } from "../src/gen/dynamodb_processor/v1/value_pb.js";

interface Vectors {
  hashes: { table: string; text: string; times?: number; header: string }[];
  values: { values: JsonValue[]; text: string }[];
  reads: { name: string; partition: string | null; query?: JsonObject; key?: JsonObject; text: string }[];
}

const vectors = JSON.parse(readFileSync(process.env["AFFINITY_CASES"]!, "utf8")) as Vectors;

test("hashes are those of the vectors", () => {
  for (const { table, text, times = 1, header } of vectors.hashes) {
    assert.equal(affinityKey(table, text.repeat(times)), header);
  }
});

test("canonical texts are those of the vectors", () => {
  for (const { values, text } of vectors.values) {
    for (const value of values) assert.equal(valueText(fromJson(AttributeValueSchema, value)), text);
  }
});

for (const { name, partition, query, key, text } of vectors.reads) {
  test(`a read has the text of its vector: ${name}`, () => {
    const found =
      query === undefined
        ? getText(fromJson(ItemSchema, { attributes: key! }), partition)
        : queryText(fromJson(QuerySpecSchema, query), partition);
    assert.equal(found, text);
  });
}
