#!/usr/bin/env bash
# betterproto2 0.10.0 (messages for Python without Google's protobuf; compiler 0.10.1).
#
# It reads google.protobuf.Duration from ProtoJSON through a float and truncates the result, so some
# durations of two decimals lose a nanosecond, and it refuses negative ones, which are valid
# (Duration.seconds "must be from -315,576,000,000 to +315,576,000,000 inclusive"). Protobuf's own
# reader keeps both. Seen, with betterproto2 to the left and protobuf 7.36.2 to the right:
#
#     "4.35s"   4 s 349999999 ns      4 s 350000000 ns
#     "2.5s"    2 s 500000000 ns      2 s 500000000 ns
#     "-1.5s"   ValueError            -1 s -500000000 ns
#
# A client that takes the deadline or the age of an answer from JSON is off by one nanosecond, and
# its round trip ("4.35s" to "4.349999999s") compares as a change.
#
# Exits 0 while this is so, and 1 when it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    betterproto2==0.10.0 betterproto2-compiler==0.10.1 protobuf==7.36.2 2>/dev/null

"$folder/venv/bin/python" - <<'PYTHON'
import sys

from betterproto2_compiler.known_types.duration import Duration
from google.protobuf import duration_pb2, json_format

EXPECTED = [
    ("4.35s", "4 s 349999999 ns", "4 s 350000000 ns"),
    ("2.5s", "2 s 500000000 ns", "2 s 500000000 ns"),
    ("-1.5s", "ValueError", "-1 s -500000000 ns"),
]


def by_betterproto2(text: str) -> str:
    try:
        read = Duration.from_dict(text)
    except ValueError:
        return "ValueError"
    return f"{read.seconds} s {read.nanos} ns"


def by_protobuf(text: str) -> str:
    read = json_format.Parse(f'"{text}"', duration_pb2.Duration())
    return f"{read.seconds} s {read.nanos} ns"


seen = [(text, by_betterproto2(text), by_protobuf(text)) for text, *_ in EXPECTED]
for text, ours, theirs in seen:
    print(f'"{text}"'.ljust(10), ours.ljust(22), theirs)
sys.exit(seen != EXPECTED)
PYTHON
