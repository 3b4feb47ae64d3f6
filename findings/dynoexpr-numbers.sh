#!/usr/bin/env bash
# @tuplo/dynoexpr 3.5.1 (npm; makes DynamoDB expressions of short texts such as "> 5" and "a + 1").
#
# It takes only digits, and digits with a point, for numbers. A negative bound becomes a string, which no number
# attribute is compared with; a fraction in arithmetic makes the text itself the new value; a string of digits
# loses its zeroes and its type. "Comparison operators" compare values of one type, and SET takes any number.
# Seen, with the value that is sent:
#
#     Filter {t: "> 5"}              {"N": "5"}        Update {t: "t + 1"}       t + 1
#     Filter {t: "> -5"}             {"S": "-5"}       Update {t: "t + 2.5"}     the string "t + 2.5"
#     Filter {t: "= 01234"}          {"N": "1234"}
#
# Temperatures below zero and postcodes are not found, and a balance becomes a text.
#
# Exits 0 while this is so, and 1 when it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund @tuplo/dynoexpr@3.5.1

node - <<'JAVASCRIPT'
const module_ = require("@tuplo/dynoexpr");
const dynoexpr = module_.default ?? module_;

const EXPECTED = [
  ["Filter", "> 5", 5],
  ["Filter", "> -5", "-5"],
  ["Filter", "= 01234", 1234],
  ["Update", "t + 1", 1],
  ["Update", "t + 2.5", "t + 2.5"],
];

const seen = EXPECTED.map(([kind, text]) => {
  const { ExpressionAttributeValues: values } = dynoexpr({ [kind]: { t: text } });
  return [kind, text, Object.values(values)[0]];
});
for (const line of seen) console.log(JSON.stringify(line));
process.exit(JSON.stringify(seen) === JSON.stringify(EXPECTED) ? 0 : 1);
JAVASCRIPT
