#!/usr/bin/env bash
# proto3-json-serializer 4.1.0 (npm; ProtoJSON for protobufjs, here 7.6.6).
#
# A wrapper that holds the default value becomes null where it came over the wire, and negative durations lose
# their fraction. ProtoJSON: wrappers "use the same representation in JSON as the wrapped primitive type", null is
# for one that is not there; other languages encode Int64Value 0 as an empty message. Duration has "0, 3, 6 or 9
# fractional digits", and its nanos carry the sign of its seconds. Seen, with protobuf 7.36.2 for Python to the
# right:
#
#     Int64Value, no bytes                            null      "0"
#     Duration, seconds -1, nanos -500000000          "-1s"     "-1.500s"
#     Duration, nanos -500000000                      "0s"      "-0.500s"
#
# A stock of 0 reads as unknown, and clock offsets within a second as none.
#
# Exits 0 while this is so, and 1 when it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund proto3-json-serializer@4.1.0 protobufjs@7.6.6

node - <<'JAVASCRIPT'
const protobuf = require("protobufjs");
const { toProto3JSON } = require("proto3-json-serializer");

const EXPECTED = [null, "-1s", "0s"];

const root = new protobuf.Root();
for (const file of ["wrappers", "duration"])
  root.addJSON(protobuf.common.get(`google/protobuf/${file}.proto`).nested);
const Int64Value = root.lookupType("google.protobuf.Int64Value");
const Duration = root.lookupType("google.protobuf.Duration");
const seen = [
  Int64Value.decode(Buffer.alloc(0)),
  Duration.fromObject({ seconds: -1, nanos: -500000000 }),
  Duration.fromObject({ nanos: -500000000 }),
].map((message) => toProto3JSON(message));
console.log(seen);
process.exit(JSON.stringify(seen) === JSON.stringify(EXPECTED) ? 0 : 1);
JAVASCRIPT
