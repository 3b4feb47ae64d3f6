#!/usr/bin/env bash
# aristaproto 0.1.5 (messages for Python without Google's protobuf, a fork of betterproto).
#
# A packed chunk of a repeated field replaces the elements that were read before it. "Encoding", "Packed repeated
# fields": a field may come in several chunks and in the unpacked form too, and parsers "must be prepared to
# accept multiple key-value pairs", whose elements are concatenated. Seen, with protobuf 7.36.2 to the right:
#
#     1a02 0102 1a01 03      two chunks, [1, 2] and [3]            [3]       [1, 2, 3]
#     1801 1a01 02           1 unpacked, then the chunk [2]        [2]       [1, 2]
#     1a01 02 1801           the chunk [2], then 1 unpacked        [2, 1]    [2, 1]
#
# Writers that flush in parts and messages merged by concatenation (which the encoding is made for) lose elements.
#
# Exits 0 while this is so, and 1 when it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check aristaproto==0.1.5 2>/dev/null

"$folder/venv/bin/python" - <<'PYTHON'
import sys
from dataclasses import dataclass

import aristaproto

EXPECTED = {"1a0201021a0103": [3], "18011a0102": [2], "1a01021801": [2, 1]}


@dataclass(eq=False, repr=False)
class Numbers(aristaproto.Message):
    values: list[int] = aristaproto.int32_field(3)


seen = {data: list(Numbers().parse(bytes.fromhex(data)).values) for data in EXPECTED}
for data, values in seen.items():
    print(data.ljust(16), values)
sys.exit(seen != EXPECTED)
PYTHON
