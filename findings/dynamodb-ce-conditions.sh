#!/usr/bin/env bash
# dynamodb-ce 0.0.5 (compiles DynamoDB's condition expressions to Python functions).
#
# It reads a name that begins with a keyword as the keyword and a shorter name: NOTES = :v is NOT (ES = :v). In
# DynamoDB's grammar a name is one token ("Naming rules"; NOTES is no reserved word). It also takes an attribute
# of type NULL for a missing one ("attribute_exists: true if the item contains the attribute"), contains for
# false on lists, and the size of a missing attribute for -1. Seen, with DynamoDB's (and DynamoDB Local's) answer
# to the right:
#
#     NOTES = :v              {NOTES: "x"}, "y"    True     False
#     attribute_exists(nul)   {nul: NULL}          False    True
#     contains(tags, :v)      {tags: ["x"]}, "x"   False    True
#     size(tags) < :v         {}, 2                True     False
#
# Exits 0 while this is so, and 1 when it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check dynamodb-ce==0.0.5 boto3==1.44.8 2>/dev/null

"$folder/venv/bin/python" - <<'PYTHON'
import sys

from dynamodb_ce import CeParser

EXPECTED = [
    ("NOTES = :v", {"NOTES": {"S": "x"}}, {":v": {"S": "y"}}, True),
    ("#n = :v", {"NOTES": {"S": "x"}}, {":v": {"S": "y"}}, False),
    ("attribute_exists(nul)", {"nul": {"NULL": True}}, {}, False),
    ("contains(tags, :v)", {"tags": {"L": [{"S": "x"}]}}, {":v": {"S": "x"}}, False),
    ("size(tags) < :v", {}, {":v": {"N": "2"}}, True),
]

seen = []
for condition, item, values, _ in EXPECTED:
    parser = CeParser(expression_attribute_names={"#n": "NOTES"}, expression_attribute_values=values)
    seen.append((condition, item, values, bool(parser.evaluate(condition, item))))
for line in seen:
    print(*line, sep="   ")
sys.exit(seen != EXPECTED)
PYTHON
