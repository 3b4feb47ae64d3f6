"""Foreign clients: programs that make given calls and report their outcomes."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import shutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc
from google.protobuf import json_format
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc.status_pb2 import Status

from tests.interop.forms import as_json, as_plain, from_plain
from tests.support.backends import find_tool
from tests.support.lengths import PATIENCE

CLIENTS: Final = Path(__file__).parent / "clients"
PROTO: Final = Path(__file__).parents[2] / "proto"
_CODES: Final = {code.name.lower(): code.value[0] for code in grpc.StatusCode}


@dataclass(frozen=True, slots=True)
class Call:
    """One call that a client is to make."""

    method: MethodDescriptor
    request: Message
    metadata: Mapping[str, str]

    @property
    def path(self) -> str:
        """The method's full name, as in a URL."""
        return f"{self.method.containing_service.full_name}/{self.method.name}"

    def for_program(self, *, plain: bool = False) -> dict[str, Any]:
        """Return it as the JSON object that a program reads."""
        return {
            "service": self.method.containing_service.name,
            "method": self.method.name,
            "streams": self.method.server_streaming,
            "request": as_plain(self.request) if plain else as_json(self.request),
            "metadata": dict(self.metadata),
            "timeout": PATIENCE,
        }

    def answer(self) -> Message:
        """Return an empty answer."""
        return GetMessageClass(self.method.output_type)()


@dataclass(frozen=True, slots=True)
class Outcome:
    """A client's view of a call.

    Its error's text and details, by type, are None if it shows none.
    """

    messages: list[Message]
    code: int
    text: str | None = None
    details: list[tuple[str, bytes]] | None = None


class Client(ABC):
    """A foreign client. `rounds_times` says that it has times by the microsecond."""

    rounds_times = False

    @abstractmethod
    async def call(self, call: Call) -> Outcome:
        """Make a call."""

    async def close(self) -> None:  # noqa: B027 - most have nothing open between calls
        """End the running programs."""


def _outcome(call: Call, reply: Mapping[str, Any], *, plain: bool = False) -> Outcome:
    fill = from_plain if plain else json_format.ParseDict
    messages = [fill(each, call.answer()) for each in reply["messages"]]
    details = None
    if (packed := reply.get("status")) is not None:
        details = unpacked(Status.FromString(base64.b64decode(packed)))
    elif "details" in reply:
        details = [(name, base64.b64decode(data + "==")) for name, data in reply["details"]]
    return Outcome(messages, reply["code"], reply.get("message"), details)


def unpacked(status: Status) -> list[tuple[str, bytes]]:
    """Return the details of a status by type."""
    return [(each.type_url.rpartition("/")[2], each.value) for each in status.details]


@dataclass
class Program(Client):
    """A program that reads calls and writes outcomes, line by line, until its input ends.

    `plain` says that it has protobuf.js's form of messages.
    """

    command: list[str]
    plain: bool = False
    _process: asyncio.subprocess.Process | None = field(default=None, init=False)

    async def call(self, call: Call) -> Outcome:
        """Make a call; the program is started with the first."""
        if self._process is None:
            self._process = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=2**24,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(call.for_program(plain=self.plain)).encode() + b"\n")
        line = await asyncio.wait_for(self._process.stdout.readline(), 2 * PATIENCE)
        assert line, f"{self.command[0]} ended with {await self._process.wait()}"
        return _outcome(call, json.loads(line), plain=self.plain)

    async def close(self) -> None:
        """End its input and wait for its end."""
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            await asyncio.wait_for(self._process.wait(), PATIENCE)


async def run(command: list[str], env: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """Run a program to its end; return its exit code and its output on each stream."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env=None if env is None else {**os.environ, **env},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 2 * PATIENCE)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def values(text: str) -> list[Any]:
    """Return the JSON values that stand one behind another in a text."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while rest := text[at:].lstrip():
        value, length = decoder.raw_decode(rest)
        found.append(value)
        at = len(text) - len(rest) + length
    return found


@dataclass(frozen=True)
class BufCurl(Client):
    """`buf curl`, which speaks gRPC and prints ProtoJSON."""

    target: str

    async def call(self, call: Call) -> Outcome:
        """Make a call."""
        command = [str(find_tool("buf")), "curl", "--protocol", "grpc", "--http2-prior-knowledge"]
        command += ["--schema", str(PROTO)]
        for name, value in call.metadata.items():
            command += ["--header", f"{name}: {value}"]
        command += ["--data", json.dumps(as_json(call.request))]
        code, out, err = await run([*command, f"http://{self.target}/{call.path}"])
        messages = [json_format.ParseDict(each, call.answer()) for each in values(out)]
        if code == 0:
            return Outcome(messages, 0)
        failed = values(err)[0]
        details = [
            (each["type"], base64.b64decode(each["value"] + "=="))
            for each in failed.get("details", ())
        ]
        return Outcome(messages, _CODES[failed["code"]], failed.get("message"), details)


@dataclass(frozen=True)
class Grpcurl(Client):
    """`grpcurl`, which takes the contract from the proto files and prints ProtoJSON."""

    target: str

    async def call(self, call: Call) -> Outcome:
        """Make a call."""
        command = [str(find_tool("grpcurl")), "-plaintext", "-import-path", str(PROTO)]
        for name in ("query_service", "catalog_service", "cache_service"):
            command += ["-proto", f"dynamodb_processor/v1/{name}.proto"]
        for name, value in call.metadata.items():
            command += ["-H", f"{name}: {value}"]
        command += ["-d", json.dumps(as_json(call.request)), self.target, call.path]
        code, out, err = await run(command)
        messages = [json_format.ParseDict(each, call.answer()) for each in values(out)]
        if code == 0:
            return Outcome(messages, 0)
        name, text = re.findall(r"^\s*(?:Code|Message): (.*)$", err, re.MULTILINE)[:2]
        word = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
        return Outcome(messages, _CODES[word], text)


@dataclass(frozen=True)
class K6(Client):
    """k6, whose scripts see messages as ProtoJSON."""

    target: str

    async def call(self, call: Call) -> Outcome:
        """Make a call."""
        env = {"CALL": json.dumps(call.for_program()), "PROTO": str(PROTO), "TARGET": self.target}
        command = [str(find_tool("k6")), "run", "--quiet", "--no-usage-report", "--no-summary"]
        command += ["--log-format", "raw", "--address", "", str(CLIENTS / "k6.js")]
        code, out, err = await run(command, env)
        outcomes = [line for line in (out + err).splitlines() if line.startswith("OUTCOME ")]
        assert outcomes, (code, out, err)
        return _outcome(call, json.loads(outcomes[0].removeprefix("OUTCOME ")))


def ruby_is_there() -> bool:
    """Return whether this machine has Ruby with gRPC."""
    folders = (Path("/usr/lib/ruby/vendor_ruby/grpc"), Path("/usr/share/rubygems-integration"))
    return shutil.which("ruby") is not None and any(each.exists() for each in folders)


def python_client(name: str, *arguments: str) -> Program:
    """Return a client that is a script for this Python."""
    return Program([sys.executable, str(CLIENTS / f"{name}_client.py"), *arguments])
