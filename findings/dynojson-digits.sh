#!/usr/bin/env bash
# dynojson 0.2.0 (Python, in Rust; turns the text of JSON to DynamoDB's JSON and back).
#
# Integers past 64 bits and fractions past 17 digits are rounded to doubles, in both directions and without an
# error. JSON text holds any number of digits (RFC 8259, 6), and DynamoDB 38 of them ("Data types"), so the text
# could have kept them. Seen:
#
#     marshall    {"id":12345678901234567890123}               {"id":{"N":"1.2345678901234568e+22"}}
#     unmarshall  {"id":{"N":"12345678901234567890123"}}       {"id":1.2345678901234568e+22}
#     unmarshall  {"rate":{"N":"0.12345678901234567891"}}      {"rate":0.12345678901234568}
#
# A table exported and imported through it has other keys.
#
# Exits 0 while this is so, and 1 when it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check dynojson==0.2.0 2>/dev/null

"$folder/venv/bin/python" - <<'PYTHON'
import sys

from dynojson import marshall, unmarshall

EXPECTED = [
    (marshall, '{"id":12345678901234567890123}', '{"id":{"N":"1.2345678901234568e+22"}}'),
    (unmarshall, '{"id":{"N":"12345678901234567890123"}}', '{"id":1.2345678901234568e+22}'),
    (unmarshall, '{"rate":{"N":"0.12345678901234567891"}}', '{"rate":0.12345678901234568}'),
]

seen = [(convert, text, convert(text)) for convert, text, _ in EXPECTED]
for convert, *texts in seen:
    print(convert.__name__.ljust(11), *texts)
sys.exit(seen != EXPECTED)
PYTHON
