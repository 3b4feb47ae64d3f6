#!/usr/bin/env bash
# dynalite 4.0.0 (npm; imitates DynamoDB).
#
# Its conditions miss documents and empty values. "Comparison operator and function reference": a = b "is true
# if a is equal to b" for every type, contains finds "a particular element" of a list, size of a string is its
# length. The item has e = "", m = {k: v, n: 1} and l = [true, {k: v}, [1]]. Seen, with the right answer (and
# DynamoDB Local's) to the right:
#
#     contains(l, true)       not found    found
#     contains(l, {k: v})     not found    found
#     contains(l, [1])        not found    found
#     m = {k: v, n: 1}        not found    found
#     size(e) = 0             not found    found
#
# Exits 0 while this is so, and 1 when it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund dynalite@4.0.0

node - <<'JAVASCRIPT'
const dynalite = require("dynalite");

const server = dynalite({ createTableMs: 0 });
const authorization = "AWS4-HMAC-SHA256 Credential=test, SignedHeaders=host, Signature=test";

async function call(operation, body) {
  const answer = await fetch(`http://127.0.0.1:${server.address().port}`, {
    method: "POST",
    headers: {
      "content-type": "application/x-amz-json-1.0",
      "x-amz-target": `DynamoDB_20120810.${operation}`,
      "x-amz-date": "20260105T120000Z",
      authorization,
    },
    body: JSON.stringify({ TableName: "items", ...body }),
  });
  return answer.json();
}

async function createTable() {
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  await call("CreateTable", {
    KeySchema: [{ AttributeName: "id", KeyType: "HASH" }],
    AttributeDefinitions: [{ AttributeName: "id", AttributeType: "S" }],
    BillingMode: "PAY_PER_REQUEST",
  });
  while ((await call("DescribeTable")).Table.TableStatus !== "ACTIVE") await new Promise(setImmediate);
}

const MAP = { M: { k: { S: "v" }, n: { N: "1" } } };
const ITEM = {
  id: { S: "a" },
  e: { S: "" },
  l: { L: [{ BOOL: true }, { M: { k: { S: "v" } } }, { L: [{ N: "1" }] }] },
  m: MAP,
};
const CASES = [
  ["contains(l, :v)", { BOOL: true }],
  ["contains(l, :v)", { M: { k: { S: "v" } } }],
  ["contains(l, :v)", { L: [{ N: "1" }] }],
  ["m = :v", MAP],
  ["size(e) = :v", { N: "0" }],
];
const EXPECTED = [0, 0, 0, 0, 0];

async function main() {
  await createTable();
  await call("PutItem", { Item: ITEM });
  const seen = [];
  for (const [FilterExpression, value] of CASES) {
    const scan = { FilterExpression, ExpressionAttributeValues: { ":v": value } };
    seen.push((await call("Scan", scan)).Count);
  }
  console.log(seen.join(" "));
  process.exit(JSON.stringify(seen) === JSON.stringify(EXPECTED) ? 0 : 1);
}

main();
JAVASCRIPT
