#!/usr/bin/env bash
# betterproto2 0.10.0, aristaproto 0.1.5, protobug 1.0.0, proto 0.1.0 and pure-protobuf 3.1.5 (messages for
# Python without Google's protobuf).
#
# A message field that is twice on the wire is replaced by its second occurrence. "Encoding", "Last one wins":
# for embedded message fields "the parser merges multiple instances of the same field", so that concatenated
# messages are merged ones. Seen, for {x: 7, z: [1]} followed by {y: "q", z: [2]}:
#
#     protobuf 7.36.2                                   x 7    y q    z 1 2
#     betterproto2, aristaproto, protobug, proto        x 0    y q    z 2
#     pure-protobuf                                     x 0    y q    z 1 2
#
# Servers that put an answer together of encoded parts are read in full by one client and in part by another.
#
# Exits 0 while this is so, and 1 when it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    betterproto2==0.10.0 aristaproto==0.1.5 protobug==1.0.0 proto==0.1.0 pure-protobuf==3.1.5 2>/dev/null

"$folder/venv/bin/python" - <<'PYTHON'
import sys
from dataclasses import dataclass, field
from io import BytesIO
from typing import Annotated

import aristaproto
import betterproto2
import proto
import protobug
from pure_protobuf.annotations import Field
from pure_protobuf.message import BaseMessage

DATA = bytes.fromhex("2205 0807 1a0101 2206 120171 1a0102")
EXPECTED = dict.fromkeys(["betterproto2", "aristaproto", "protobug", "proto"], (0, "q", [2]))
EXPECTED["pure-protobuf"] = (0, "q", [1, 2])


@dataclass(eq=False, repr=False)
class Better(betterproto2.Message):
    x: int = betterproto2.field(1, betterproto2.TYPE_INT32)
    y: str = betterproto2.field(2, betterproto2.TYPE_STRING)
    z: list[int] = betterproto2.field(3, betterproto2.TYPE_INT32, repeated=True)
    part: "Better | None" = betterproto2.field(4, betterproto2.TYPE_MESSAGE, optional=True)


@dataclass(eq=False, repr=False)
class Arista(aristaproto.Message):
    x: int = aristaproto.int32_field(1)
    y: str = aristaproto.string_field(2)
    z: list[int] = aristaproto.int32_field(3)
    part: "Arista" = aristaproto.message_field(4)


@protobug.message
class BugPart:
    x: protobug.Int32 = protobug.field(1, default=0)
    y: protobug.String = protobug.field(2, default="")
    z: list[protobug.Int32] = protobug.field(3, default_factory=list)


@protobug.message
class Bug:
    part: BugPart = protobug.field(4)


@proto.message
class Proto:
    x: int = proto.field(1, "int32")
    y: str = proto.field(2)
    z: list[int] = proto.field(3, "int32")
    part: "Proto | None" = proto.field(4)


@dataclass
class PurePart(BaseMessage):
    x: Annotated[int, Field(1)] = 0
    y: Annotated[str, Field(2)] = ""
    z: Annotated[list[int], Field(3)] = field(default_factory=list)


@dataclass
class Pure(BaseMessage):
    part: Annotated[PurePart, Field(4)]


messages = {
    "betterproto2": Better.parse(DATA),
    "aristaproto": Arista().parse(DATA),
    "protobug": protobug.loads(DATA, Bug),
    "proto": proto.decode(Proto, DATA),
    "pure-protobuf": Pure.read_from(BytesIO(DATA)),
}
seen = {name: (m.part.x, m.part.y, list(m.part.z)) for name, m in messages.items()}
for name, part in seen.items():
    print(name.ljust(14), part)
sys.exit(seen != EXPECTED)
PYTHON
