#!/usr/bin/env bash
# proto3-json-serializer 4.1.0 (npm; ProtoJSON for protobufjs, here 7.6.6).
#
# Paths of field masks keep their case. ProtoJSON, FieldMask: the JSON is one string "where paths are separated by
# a comma", and "fields name in each path are converted to/from lower-camel naming". Seen, with protobuf 7.36.2 for
# Python to the right:
#
#     JSON "displayName,owner.homeTown"        displayName owner.homeTown     display_name owner.home_town
#     paths display_name, owner.home_town      "display_name,..."             "displayName,owner.homeTown"
#
# An update with such a mask names fields that the server does not have: it is refused, or changes nothing.
#
# Exits 0 while this is so, and 1 when it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund proto3-json-serializer@4.1.0 protobufjs@7.6.6

node - <<'JAVASCRIPT'
const protobuf = require("protobufjs");
const { fromProto3JSON, toProto3JSON } = require("proto3-json-serializer");

const EXPECTED = {
  read: ["displayName", "owner.homeTown"],
  written: "display_name,owner.home_town",
};

const root = new protobuf.Root();
root.addJSON(protobuf.common.get("google/protobuf/field_mask.proto").nested);
const FieldMask = root.lookupType("google.protobuf.FieldMask");
const mask = FieldMask.fromObject({ paths: ["display_name", "owner.home_town"] });
const seen = {
  read: fromProto3JSON(FieldMask, "displayName,owner.homeTown").paths,
  written: toProto3JSON(mask),
};
console.log(seen);
process.exit(JSON.stringify(seen) === JSON.stringify(EXPECTED) ? 0 : 1);
JAVASCRIPT
