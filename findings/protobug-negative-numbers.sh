#!/usr/bin/env bash
# protobug 1.0.0 (Protocol Buffers of Python dataclasses).
#
# It reads a negative int32 or enum value as an unsigned number of 64 bits, and writes one in five bytes, which
# it reads back as unsigned too. "Encoding", "Signed integers": negative values of int32 and int64 are "sign
# extended" to ten bytes in two's complement. Seen, with protobuf 7.36.2 to the right:
#
#     08 fbffffffffffffffff01 as int32      18446744073709551611     -5
#     -5 written and read as int32          4294967291               -5
#     -5 written as int32                   08 fbffffff0f            08 fbffffffffffffffff01
#
# Balances, temperatures, error numbers and offsets below zero are huge.
#
# Exits 0 while this is so, and 1 when it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check protobug==1.0.0 2>/dev/null

"$folder/venv/bin/python" - <<'PYTHON'
import sys

import protobug

EXPECTED = [18446744073709551611, 4294967291, "08fbffffff0f"]


@protobug.message
class Balance:
    amount: protobug.Int32 = protobug.field(1, default=0)


written = protobug.dumps(Balance(amount=-5))
seen = [
    protobug.loads(bytes.fromhex("08fbffffffffffffffff01"), Balance).amount,
    protobug.loads(written, Balance).amount,
    written.hex(),
]
print(*seen, sep="\n")
sys.exit(seen != EXPECTED)
PYTHON
