#!/usr/bin/env bash
# dynamo-converters 9.1.1 (npm; turns JavaScript objects to DynamoDB's items and back).
#
# It reads a number with an exponent as the digits before it, unless these have a point: 1e-7 is 1. It writes such
# numbers itself, since JavaScript's text of them has an exponent, and DynamoDB takes them ("Data types", Number:
# magnitudes from 1E-130); DynamoDB Local gives them back as written after an UpdateItem. Seen, for {v} through
# dataToItem and back through itemToData:
#
#     1e-7        {N: "1e-7"}        1
#     2e21        {N: "2e+21"}       2
#     2.5e-7      {N: "2.5e-7"}      2.5e-7
#     0.0001      {N: "0.0001"}      0.0001
#
# A probability or a tolerance of a ten-millionth becomes certainty.
#
# Exits 0 while this is so, and 1 when it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund dynamo-converters@9.1.1

node - <<'JAVASCRIPT'
const { dataToItem, itemToData } = require("dynamo-converters");

const EXPECTED = [
  [1e-7, "1e-7", 1],
  [2e21, "2e+21", 2],
  [2.5e-7, "2.5e-7", 2.5e-7],
  [0.0001, "0.0001", 0.0001],
];

const seen = EXPECTED.map(([v]) => [v, dataToItem({ v }).v.N, itemToData(dataToItem({ v })).v]);
for (const row of seen) console.log(...row);
process.exit(JSON.stringify(seen) === JSON.stringify(EXPECTED) ? 0 : 1);
JAVASCRIPT
