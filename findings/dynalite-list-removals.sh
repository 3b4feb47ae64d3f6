#!/usr/bin/env bash
# dynalite 4.0.0 (npm; imitates DynamoDB).
#
# A REMOVE of several list elements counts the later indexes in the list that the earlier removals left.
# "Update expressions", "Removing elements from a list", removes RelatedItems[1] and RelatedItems[2] of
# [Chisel, Hammer, Nails, Screwdriver, Hacksaw] and gives [Chisel, Screwdriver, Hacksaw]. Seen, with the guide's
# answer (and DynamoDB Local's) to the right:
#
#     REMOVE l[1], l[2]              Chisel Nails Hacksaw          Chisel Screwdriver Hacksaw
#     REMOVE l[2], l[1]              Chisel Screwdriver Hacksaw    Chisel Screwdriver Hacksaw
#
# The result depends on the order, the wrong element is gone and another stays.
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

const TOOLS = ["Chisel", "Hammer", "Nails", "Screwdriver", "Hacksaw"];
const EXPECTED = {
  "REMOVE l[1], l[2]": "Chisel Nails Hacksaw",
  "REMOVE l[2], l[1]": "Chisel Screwdriver Hacksaw",
};

async function main() {
  await createTable();
  const seen = {};
  for (const UpdateExpression of Object.keys(EXPECTED)) {
    const Item = { id: { S: "a" }, l: { L: TOOLS.map((S) => ({ S })) } };
    await call("PutItem", { Item });
    const update = { Key: { id: Item.id }, UpdateExpression, ReturnValues: "ALL_NEW" };
    const { Attributes } = await call("UpdateItem", update);
    seen[UpdateExpression] = Attributes.l.L.map(({ S }) => S).join(" ");
  }
  console.log(seen);
  process.exit(JSON.stringify(seen) === JSON.stringify(EXPECTED) ? 0 : 1);
}

main();
JAVASCRIPT
