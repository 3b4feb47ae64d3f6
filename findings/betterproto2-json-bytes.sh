#!/usr/bin/env bash
# betterproto2 0.10.0 (messages for Python without Google's protobuf).
#
# It reads bytes from JSON in the URL-safe alphabet of Base64 by leaving "-" and "_" out. ProtoJSON, bytes:
# "either standard or URL-safe base64 encoding with/without paddings are accepted". Seen, with protobuf 7.36.2 to
# the right:
#
#     "/+/+AAAA"      ffeffe000000     ffeffe000000
#     "_-_-AAAA"      000000           ffeffe000000
#     "AQ"            Error            01
#
# Keys, tokens and digests that a JavaScript or Go client sends in that alphabet arrive shorter, with no error
# where the rest happens to be whole groups of four.
#
# Exits 0 while this is so, and 1 when it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check betterproto2==0.10.0 2>/dev/null

"$folder/venv/bin/python" - <<'PYTHON'
import sys
from dataclasses import dataclass

import betterproto2

EXPECTED = {"/+/+AAAA": "ffeffe000000", "_-_-AAAA": "000000", "AQ": "Error"}


@dataclass(eq=False, repr=False)
class Token(betterproto2.Message):
    value: bytes = betterproto2.field(1, betterproto2.TYPE_BYTES)


def read(text: str) -> str:
    try:
        return Token.from_dict({"value": text}).value.hex()
    except Exception as error:
        return type(error).__name__


seen = {text: read(text) for text in EXPECTED}
for text, value in seen.items():
    print(text.ljust(10), value)
sys.exit(seen != EXPECTED)
PYTHON
