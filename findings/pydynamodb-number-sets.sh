#!/usr/bin/env bash
# pydynamodb 0.8.2 (DB API and SQLAlchemy dialect for DynamoDB's PartiQL).
#
# It reads the elements of a number set as floats, though numbers outside of sets as they are: identifiers past
# 2**53 change, and two of them become one. "Data types": a number set holds numbers, with "up to 38 digits of
# precision". Seen:
#
#     {"N": "9007199254740993"}                            9007199254740993
#     {"NS": ["9007199254740992", "9007199254740993"]}     {9007199254740992.0}
#
# Exits 0 while this is so, and 1 when it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pydynamodb==0.8.2 2>/dev/null

"$folder/venv/bin/python" - <<'PYTHON'
import sys

from pydynamodb.converter import DefaultTypeConverter

EXPECTED = [9007199254740993, {9007199254740992.0}]

converter = DefaultTypeConverter()
seen = [
    converter.deserialize({"N": "9007199254740993"}),
    converter.deserialize({"NS": ["9007199254740992", "9007199254740993"]}),
]
print(*seen, sep="\n")
sys.exit(seen != EXPECTED)
PYTHON
