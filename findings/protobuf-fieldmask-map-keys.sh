#!/usr/bin/env bash
# protobuf-fieldmask 2.0.0 (npm; makes google.protobuf.FieldMask paths of objects and applies them).
#
# A map whose keys are digits comes out of applyFieldMask as an array, with a hole for each smaller number. The
# paths are the library's own (generateFieldMask). field_mask.proto lets a mask select fields of a message; it
# changes no type, and in ProtoJSON a map is an object whatever its keys. Seen:
#
#     in      {"stock":{"3":7}}
#     mask    stock.3
#     out     {"stock":[null,null,null,7]}
#
# A map of year to amount, or of HTTP status to count, becomes an array of 2,027 or 504 entries, and a server
# that reads ProtoJSON refuses it.
#
# Exits 0 while this is so, and 1 when it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund protobuf-fieldmask@2.0.0

node - <<'JAVASCRIPT'
const { applyFieldMask, generateFieldMask } = require("protobuf-fieldmask");

const EXPECTED = { mask: ["stock.3"], out: { stock: [null, null, null, 7] } };
const message = { stock: { 3: 7 } };
const mask = generateFieldMask(message);
const seen = JSON.stringify({ mask, out: applyFieldMask(message, mask) });
console.log(seen);
process.exit(seen === JSON.stringify(EXPECTED) ? 0 : 1);
JAVASCRIPT
