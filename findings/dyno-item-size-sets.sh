#!/usr/bin/env bash
# dyno-item-size 0.3.3 (npm; the size of an item in bytes and in capacity units), with @aws-sdk/util-dynamodb 3.996.9.
#
# It measures a set as an empty map, and the binaries of the current SDK as maps of their indexes. "Item sizes and
# formats": an item is "the sum of the lengths of its attribute names and values", a binary its raw bytes. The goal
# in the README is to be right within a byte. Seen, for items that unmarshall made, with the right size (DynamoDB
# Local 3.3.1 charges 20 units for the first) to the right:
#
#     tags: 200 strings of 100 bytes, as a set         10 bytes, 1 write unit      20,007 bytes, 20 units
#     photo: 1,000 bytes, Uint8Array                4,901 bytes, 5 write units      1,008 bytes, 1 unit
#     photo: 1,000 bytes, Buffer                    1,008 bytes, 1 write unit       1,008 bytes, 1 unit
#
# A check of the 400 KB that an item may have lets sets of any size pass.
#
# Exits 0 while this is so, and 1 when it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund dyno-item-size@0.3.3 @aws-sdk/util-dynamodb@3.996.9

node - <<'JAVASCRIPT'
const itemSize = require("dyno-item-size");
const { unmarshall } = require("@aws-sdk/util-dynamodb");

const id = { S: "a" };
const tags = Array.from({ length: 200 }, (_, number) => String(number).padStart(100, "0"));
const ITEMS = [
  { id, tags: { SS: tags } },
  { id, photo: { B: new Uint8Array(1000).fill(7) } },
  { id, photo: { B: Buffer.alloc(1000, 7) } },
];
const EXPECTED = [
  [10, 1],
  [4901, 5],
  [1008, 1],
];

const seen = ITEMS.map((item) => unmarshall(item)).map((item) => [itemSize(item), itemSize.write(item)]);
for (const [bytes, units] of seen) console.log(bytes, "bytes,", units, "write units");
process.exit(JSON.stringify(seen) === JSON.stringify(EXPECTED) ? 0 : 1);
JAVASCRIPT
