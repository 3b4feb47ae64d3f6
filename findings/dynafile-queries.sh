#!/usr/bin/env bash
# dynafile 0.1.3 (an embedded database in files, after DynamoDB's model and boto3's API).
#
# query(starts_with=P) answers with every sort key from P on, and with scan_index_forward=False with every key up
# to P, which without a prefix is none. DynamoDB's Query reads the same items in both directions, and
# begins_with(key, P) is true of keys that begin with P. Seen, for the keys order#1, order#2, payment#1, user#1:
#
#     starts_with="order#"                     all four                 order#1 order#2
#     starts_with="order#", descending         none                     order#2 order#1
#     descending                               none                     all four, from user#1
#
# Exits 0 while this is so, and 1 when it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check dynafile==0.1.3 2>/dev/null

"$folder/venv/bin/python" - "$folder/data" <<'PYTHON'
import sys

from dynafile import Dynafile

KEYS = ["order#1", "order#2", "payment#1", "user#1"]
EXPECTED = [KEYS, [], []]

database = Dynafile(sys.argv[1])
for key in KEYS:
    database.put_item(item={"PK": "a", "SK": key})
queries = [
    database.query("a", starts_with="order#"),
    database.query("a", starts_with="order#", scan_index_forward=False),
    database.query("a", scan_index_forward=False),
]
seen = [[item["SK"] for item in found] for found in queries]
print(*seen, sep="\n")
sys.exit(seen != EXPECTED)
PYTHON
