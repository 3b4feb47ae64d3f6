#!/usr/bin/env bash
# @awspilot/dynamodb-util 1.1.4 (npm; turns DynamoDB's attribute values to JavaScript and back).
#
# normalizeItem leaves binary sets out of the item; its own parse, for single values, keeps them. And stringify
# makes of a Set of buffers a list, where it makes sets of the Sets of strings and numbers; an update that then
# adds to the set is refused. "Data types" has three kinds of sets. Seen:
#
#     normalizeItem {id: {N: 1}, keys: {BS: [AQ==]}}      {id: 1}
#     parse {BS: [AQ==]}                                  [AQ==]
#     stringify Set of "a"                                SS
#     stringify Set of a buffer                           L
#
# Exits 0 while this is so, and 1 when it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund @awspilot/dynamodb-util@1.1.4

node - <<'JAVASCRIPT'
const module_ = require("@awspilot/dynamodb-util");
const util = module_.default ?? module_;

const EXPECTED = [{ id: 1 }, ["AQ=="], "SS", "L"];
const seen = [
  util.normalizeItem({ id: { N: "1" }, keys: { BS: ["AQ=="] } }),
  util.parse({ BS: ["AQ=="] }),
  Object.keys(util.stringify(new Set(["a"])))[0],
  Object.keys(util.stringify(new Set([Buffer.from("a")])))[0],
];
for (const line of seen) console.log(JSON.stringify(line));
process.exit(JSON.stringify(seen) === JSON.stringify(EXPECTED) ? 0 : 1);
JAVASCRIPT
