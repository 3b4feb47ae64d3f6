#!/usr/bin/env bash
# dynamodb-json 1.4.2 (Python; reads and writes DynamoDB's JSON).
#
# An item or map that has an attribute with the name of a type tag (S, N, L, M, B, SS, NS, BS, BOOL, NULL) is
# taken for that type: the other attributes are dropped without an error. "Naming rules" allow these names
# (they are not reserved words), and boto3's own deserializer reads them. Seen, with dynamodb-json to the left
# and boto3 to the right:
#
#     {"id": {"S": "7"}, "S": {"S": "red"}}             "red"             {"id": "7", "S": "red"}
#     {"size": {"M": {"S": {"N": "4"}, "L": ...}}}      {"size": "4"}     {"size": {"S": 4, "L": 9}}
#
# Stock by clothes size (S, M, L) or a row with a column N keeps one of its values.
#
# Exits 0 while this is so, and 1 when it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check dynamodb-json==1.4.2 boto3==1.44.8 2>/dev/null

"$folder/venv/bin/python" - <<'PYTHON'
import json
import sys

from boto3.dynamodb.types import TypeDeserializer
from dynamodb_json import json_util

EXPECTED = [
    ({"id": {"S": "7"}, "S": {"S": "red"}}, "red", {"id": "7", "S": "red"}),
    ({"size": {"M": {"S": {"N": "4"}, "L": {"N": "9"}}}}, {"size": "4"}, {"size": {"S": 4, "L": 9}}),
]

seen = []
for item, *_ in EXPECTED:
    right = {name: TypeDeserializer().deserialize(value) for name, value in item.items()}
    seen.append((item, json_util.loads(json.dumps(item)), right))
for item, theirs, right in seen:
    print(item, theirs, right, sep="   ")
sys.exit(seen != EXPECTED)
PYTHON
