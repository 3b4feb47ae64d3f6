#!/usr/bin/env bash
# dynamodb-stream-elasticsearch 3.3.1 (npm; a Lambda function's handler that indexes DynamoDB's streams), with aws-sdk
# 2.1692.0.
#
# Of each batch it writes all the documents first and deletes afterwards, and a document's name is the values of the
# item's key joined without a mark. "Change data capture for DynamoDB Streams": the records of an item "appear in
# the same sequence as the actual modifications to the item", and an item is its partition key and sort key. Seen,
# in an index that had no documents but a/1, with what is there after one batch:
#
#     REMOVE a/1, INSERT a/1        nothing              right: a1
#     INSERT ab/c, INSERT a/bc      abc                  right: one for each item
#     INSERT a/1, REMOVE a/1        nothing              nothing
#
# An item that is replaced by a deletion and a new one is not found until it is written again.
#
# Exits 0 while this is so, and 1 when it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund dynamodb-stream-elasticsearch@3.3.1 aws-sdk@2.1692.0

export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE=1
node - <<'JAVASCRIPT'
const http = require("node:http");
const { pushStream } = require("dynamodb-stream-elasticsearch");

const CASES = [
  [["REMOVE", "a", "1"], ["INSERT", "a", "1"]],
  [["INSERT", "ab", "c"], ["INSERT", "a", "bc"]],
  [["INSERT", "a", "1"], ["REMOVE", "a", "1"]],
];
const EXPECTED = ["", "abc", ""];
const WRITES = { PUT: true, POST: true, DELETE: false };
let documents;

const index = http.createServer((request, response) => {
  const name = new URL(request.url, "http://index").pathname.split("/")[3];
  const found = documents.has(name);
  if (WRITES[request.method] === true) documents.add(name);
  if (WRITES[request.method] === false) documents.delete(name);
  request.resume().on("end", () => {
    response.writeHead(request.method === "HEAD" && !found ? 404 : 200, { "content-type": "application/json" });
    response.end(request.method === "HEAD" ? undefined : "{}");
  });
});

function record([eventName, pk, sk]) {
  const Keys = { pk: { S: pk }, sk: { S: sk } };
  return { eventName, dynamodb: { Keys, ...(eventName === "INSERT" && { NewImage: Keys }) } };
}

async function main() {
  await new Promise((resolve) => index.listen(0, "127.0.0.1", resolve));
  const seen = [];
  for (const changes of CASES) {
    documents = new Set(changes[0][0] === "REMOVE" ? ["a1"] : []);
    const endpoint = `http://127.0.0.1:${index.address().port}`;
    await pushStream({ event: { Records: changes.map(record) }, index: "items", endpoint });
    seen.push([...documents].join(" "));
    console.log(changes.join("; "), "->", seen.at(-1) || "nothing");
  }
  process.exit(JSON.stringify(seen) === JSON.stringify(EXPECTED) ? 0 : 1);
}

main();
JAVASCRIPT
