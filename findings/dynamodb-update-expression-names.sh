#!/usr/bin/env bash
# dynamodb-update-expression 0.1.21 (npm; makes an UpdateExpression of an item before and after).
#
# It makes a placeholder of a path by dropping underscores and dots, so paths that differ in these alone share
# one, and each gets the value of the last. "Expression attribute values" are substitutes for the actual values,
# one for each. Seen, with the values that the update stores:
#
#     {user_id: 1, userid: 2} to {user_id: 3, userid: 4}         user_id 4, userid 4
#     {a: {bc: 1}, abc: 2} to {a: {bc: 3}, abc: 4}               a.bc 4, abc 4
#     {a: 1, b: 2} to {a: 3, b: 4}                               a 3, b 4
#
# Exits 0 while this is so, and 1 when it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund dynamodb-update-expression@0.1.21

node - <<'JAVASCRIPT'
const { getUpdateExpression } = require("dynamodb-update-expression");

const CASES = [
  [{ user_id: 1, userid: 2 }, { user_id: 3, userid: 4 }],
  [{ a: { bc: 1 }, abc: 2 }, { a: { bc: 3 }, abc: 4 }],
  [{ a: 1, b: 2 }, { a: 3, b: 4 }],
];
const EXPECTED = ["user_id 4, userid 4", "a.bc 4, abc 4", "a 3, b 4"];

const seen = CASES.map(([before, after]) => {
  const update = getUpdateExpression(before, after);
  const valued = update.UpdateExpression.replace(/:\w+/g, (name) => update.ExpressionAttributeValues[name]);
  return valued.replace(/^SET |#/g, "").replace(/ = /g, " ");
});
for (const line of seen) console.log(line);
process.exit(JSON.stringify(seen) === JSON.stringify(EXPECTED) ? 0 : 1);
JAVASCRIPT
