#!/usr/bin/env bash
# grpclib 0.4.9 (gRPC for asyncio in Python).
#
# It decodes binary metadata without splitting it at commas. "gRPC over HTTP2": the values of one name may be
# joined "with ',' as the delimiter", and "implementations must split Binary-Headers on ',' before decoding the
# Base64-encoded values". Python's Base64 leaves the comma out, so two values become one other value, without an
# error. Seen, with the right answer to the right:
#
#     trace-bin: AQ,Ag       010020       01 and 02
#     trace-bin: AQI,AwQ     010200c1     0102 and 0304
#     trace-bin: AQID,BAUG   010203040506 010203 and 040506
#
# A proxy that joins fields (RFC 9110, 5.3, lets it) changes trace contexts, tokens and signatures.
#
# Exits 0 while this is so, and 1 when it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check grpclib==0.4.9 2>/dev/null

"$folder/venv/bin/python" - <<'PYTHON'
import sys

from grpclib.metadata import decode_metadata

EXPECTED = {"AQ,Ag": ["010020"], "AQI,AwQ": ["010200c1"], "AQID,BAUG": ["010203040506"]}

seen = {
    text: [value.hex() for value in decode_metadata([("trace-bin", text)]).getall("trace-bin")]
    for text in EXPECTED
}
for text, values in seen.items():
    print(text.ljust(10), *values)
sys.exit(seen != EXPECTED)
PYTHON
