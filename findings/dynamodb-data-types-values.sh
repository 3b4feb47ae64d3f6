#!/usr/bin/env bash
# dynamodb-data-types 4.0.1 (npm; makes DynamoDB's attribute values and update expressions of JavaScript values).
#
# updateExpr() lets values of the same text share a placeholder, and so a type: that of the first. Its README has
# values shared that are equal by "===". For DynamoDB the number 1 and the string "1" are different values of
# different types ("Data types"). Seen, with the values that the update stores:
#
#     set {code: "7", stock: 7}            stock is the string "7"
#     set {stock: 7, code: "7"}            code is the number 7
#     set {paid: true, note: "true"}       note is the boolean true
#     set {code: "7"}, add {stock: 7}      refused: ADD takes a number, not a string
#     set {code: "8", stock: 7}            both right
#
# The result hangs on values that happen to meet, and on their order, so a code sometimes becomes a number.
#
# Exits 0 while this is so, and 1 when it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund dynamodb-data-types@4.0.1

node - <<'JAVASCRIPT'
const { updateExpr } = require("dynamodb-data-types");

const CASES = [
  [updateExpr().set({ code: "7", stock: 7 }), "SET code = :a, stock = :a", { ":a": { S: "7" } }],
  [updateExpr().set({ stock: 7, code: "7" }), "SET stock = :a, code = :a", { ":a": { N: "7" } }],
  [updateExpr().set({ paid: true, note: "true" }), "SET paid = :a, note = :a", { ":a": { BOOL: true } }],
  [updateExpr().set({ code: "7" }).add({ stock: 7 }), "SET code = :a ADD stock :a", { ":a": { S: "7" } }],
  [updateExpr().set({ code: "8", stock: 7 }), "SET code = :a, stock = :b", { ":a": { S: "8" }, ":b": { N: "7" } }],
];

let changed = false;
for (const [update, UpdateExpression, ExpressionAttributeValues] of CASES) {
  const seen = JSON.stringify(update.expr());
  console.log(seen);
  changed ||= seen !== JSON.stringify({ UpdateExpression, ExpressionAttributeValues });
}
process.exit(changed ? 1 : 0);
JAVASCRIPT
