#!/usr/bin/env bash
# protocol-buffers 5.0.0 (npm; encodes messages after the text of a .proto file).
#
# Negative integers and packed fields change. "Encoding": negative int32 and int64 are ten bytes of two's
# complement, and in proto3 repeated numbers are packed unless the field says otherwise. Seen, with protobuf
# 7.36.2 for Python to the right:
#
#     int64 -1, written                      81ffffffffffffffff01 (-127)     ffffffffffffffffff01
#     int32 fbffffffffffffffff01, read       18446744069414584000            -5
#     repeated int32 [1, 2], read            [2]                             [1, 2]
#
# Another program reads -127 for -1 and sends lists that arrive with one element.
#
# Exits 0 while this is so, and 1 when it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund protocol-buffers@5.0.0

node - <<'JAVASCRIPT'
const compile = require("protocol-buffers");

const EXPECTED = ["1081ffffffffffffffff01", 18446744069414584000, [2]];

const { Numbers } = compile(`
  syntax = "proto3";
  message Numbers {
    int32 small = 1;
    int64 large = 2;
    repeated int32 many = 3;
  }
`);
const read = (hex) => Numbers.decode(Buffer.from(hex, "hex"));
const seen = [
  Numbers.encode({ large: -1 }).toString("hex"),
  read("08fbffffffffffffffff01").small,
  read("1a020102").many,
];
console.log(seen);
process.exit(JSON.stringify(seen) === JSON.stringify(EXPECTED) ? 0 : 1);
JAVASCRIPT
