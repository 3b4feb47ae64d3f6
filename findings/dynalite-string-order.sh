#!/usr/bin/env bash
# dynalite 4.0.0 (npm; imitates DynamoDB).
#
# Filters compare strings by UTF-16 units, keys by UTF-8 bytes. "Data types": DynamoDB "collates and compares
# strings using the bytes of the underlying UTF-8 string encoding", anywhere. Characters past U+FFFF are less
# than U+E000 to U+FFFF in UTF-16 and greater in UTF-8. Items with s = U+1F600 and s = U+FF21 (a fullwidth A,
# usual in Japanese text) are asked for s > U+FF21. Seen, with the right answer (and DynamoDB Local's) to the
# right:
#
#     FilterExpression s > U+FF21          none         U+1F600
#     FilterExpression s < U+FF21          U+1F600      none
#
# A range over a key finds other items than the same range in a filter.
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

const EXPECTED = { "s > :v": [], "s < :v": ["1f600"] };

async function main() {
  await createTable();
  for (const S of ["\u{1f600}", "\uff21"]) await call("PutItem", { Item: { id: { S }, s: { S } } });
  const seen = {};
  for (const FilterExpression of Object.keys(EXPECTED)) {
    const scan = { FilterExpression, ExpressionAttributeValues: { ":v": { S: "\uff21" } } };
    const { Items } = await call("Scan", scan);
    seen[FilterExpression] = Items.map(({ s }) => s.S.codePointAt(0).toString(16));
  }
  console.log(seen);
  process.exit(JSON.stringify(seen) === JSON.stringify(EXPECTED) ? 0 : 1);
}

main();
JAVASCRIPT
