"""Tests that the dependencies that are declared are those that the generated code asks for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Final

from dynamodb_processor_client import sync

_ROOT: Final = Path(__file__).parents[2]
_GENERATED: Final = _ROOT / "proto" / "dynamodb_processor" / "v1"
_PROTOBUF: Final = re.compile(r"Domain\.PUBLIC,\s+(\d+),\s+(\d+),\s+(\d+),")
_GRPC: Final = re.compile(r"^GRPC_GENERATED_VERSION = '([\d.]+)'$", re.MULTILINE)


def dependencies() -> dict[str, str]:
    """Return the versions that `pyproject.toml` asks of each package for the client."""
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    split = (re.match(r"([\w-]+)(.*)", line) for line in project["dependencies"])
    return {match[1]: match[2] for match in split if match}


def test_the_floor_of_protobuf_is_the_version_of_the_code() -> None:
    """An older protobuf refuses the code when it is imported, and so may a second newer major."""
    found = {
        match.groups()
        for file in _GENERATED.glob("*_pb2.py")
        for match in _PROTOBUF.finditer(file.read_text("utf-8"))
    }
    ((major, minor, patch),) = found
    assert dependencies()["protobuf"] == f">={major}.{minor}.{patch},<{int(major) + 2}"


def test_the_floor_of_grpc_is_the_version_of_the_code() -> None:
    """An older grpcio refuses the code when it is imported."""
    found = {
        match[1]
        for file in _GENERATED.glob("*_pb2_grpc.py")
        for match in _GRPC.finditer(file.read_text("utf-8"))
    }
    (version,) = found
    assert dependencies()["grpcio"] == dependencies()["grpcio-status"] == f">={version}"


def test_every_generated_module_of_the_client_says_so() -> None:
    """A person who opens one of them sees where to make a change instead."""
    folder = Path(sync.__file__).parent
    for file in folder.glob("*.py"):
        first = file.read_text("utf-8").splitlines()[0]
        is_generated = first.startswith("# Written by `make proto`")
        assert is_generated == (file.name != "transport.py"), file.name
