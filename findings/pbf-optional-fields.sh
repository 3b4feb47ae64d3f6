#!/usr/bin/env bash
# pbf 5.1.2 (npm; reads and writes Protocol Buffers, compiled from a .proto file).
#
# An optional field of proto3 is not written when its value is 0, false or "". "Field presence": a field with
# explicit presence is serialized whenever it is set, also to its default value; that is the keyword's purpose.
# Only oneof members are written. Seen, with protobuf 7.36.2 for Python to the right:
#
#     optional int32 limit = 1; {limit: 0}         no bytes     0800
#     optional bool on = 2; {on: false}            no bytes     1000
#     oneof { int32 size = 3; } {size: 0}          1800         1800
#
# "Set it to 0" arrives as "leave it".
#
# Exits 0 while this is so, and 1 when it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund pbf@5.1.2 protocol-buffers-schema@3.6.1

node - <<'JAVASCRIPT'
const { PbfWriter } = require("pbf");
const { compile } = require("pbf/compile");
const schema = require("protocol-buffers-schema");

const CASES = [{ limit: 0 }, { limit: 5 }, { on: false }, { size: 0 }];
const EXPECTED = ["", "0805", "", "1800"];

const { writeSettings } = compile(
  schema.parse(`
    syntax = "proto3";
    message Settings {
      optional int32 limit = 1;
      optional bool on = 2;
      oneof choice { int32 size = 3; }
    }
  `)
);
const seen = CASES.map((settings) => {
  const writer = new PbfWriter();
  writeSettings(settings, writer);
  return Buffer.from(writer.finish()).toString("hex");
});
console.log(seen);
process.exit(JSON.stringify(seen) === JSON.stringify(EXPECTED) ? 0 : 1);
JAVASCRIPT
