"""The comments of the contract in Markdown, by the full names of its declarations."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)
from google.rpc import error_details_pb2

_PROTO: Final = Path(__file__).parents[3] / "proto"
_ERROR_DETAILS: Final = Path(error_details_pb2.__file__).with_name("error_details.proto")
_SERVICE, _MESSAGE, _ENUM = 6, 4, 5  # numbers of FileDescriptorProto's fields
_METHOD, _FIELD, _ONEOF, _NESTED, _NESTED_ENUM, _VALUE = 2, 2, 8, 3, 4, 2  # and of those below it
_CODE: Final = re.compile(r"`((?:[A-Za-z]+\.)?)([a-z]+(?:_[a-z]+)+)`")

_Path = tuple[int, ...]


def read_comments() -> dict[str, str]:
    """Return the comment of each declaration of the contract and of `google.rpc`'s error details.

    Field names in backticks are in lowerCamelCase, as in JSON. A declaration without a comment is
    left out.
    """
    files = _parsed()
    raw = dict(pair for file in files for pair in _comments(file))
    fields = {name for file in files for message in file.message_type for name in _fields(message)}
    return {name: _in_json_names(text, fields) for name, text in raw.items()}


def json_name(field: str) -> str:
    """Return a field's name in proto3 JSON."""
    head, *rest = field.split("_")
    return head + "".join(part.capitalize() for part in rest)


def _parsed() -> Sequence[FileDescriptorProto]:
    """Return the files as protoc parses them, comments included."""
    sources = sorted(_PROTO.glob("dynamodb_processor/v1/*.proto"))
    names = [str(source.relative_to(_PROTO)) for source in sources]
    details = _ERROR_DETAILS.parents[2]
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "contract"
        command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{_PROTO}", f"-I{details}"]
        command += ["--include_source_info", f"--descriptor_set_out={target}", *names]
        subprocess.run([*command, str(_ERROR_DETAILS.relative_to(details))], check=True)
        return FileDescriptorSet.FromString(target.read_bytes()).file


def _fields(message: DescriptorProto) -> Iterator[str]:
    yield from (field.name for field in message.field)
    for nested in message.nested_type:
        yield from _fields(nested)


def _comments(file: FileDescriptorProto) -> Iterator[tuple[str, str]]:
    brief = file.package == "google.rpc"
    texts = {
        tuple(location.path): _markdown(location.leading_comments, brief=brief)
        for location in file.source_code_info.location
        if location.leading_comments
    }
    for name, path in _declarations(file):
        if path in texts:
            yield name, texts[path]


def _declarations(file: FileDescriptorProto) -> Iterator[tuple[str, _Path]]:
    """Yield the full name of each declaration, and its path in the file."""
    for index, service in enumerate(file.service):
        name, path = f"{file.package}.{service.name}", (_SERVICE, index)
        yield name, path
        for at, method in enumerate(service.method):
            yield f"{name}.{method.name}", (*path, _METHOD, at)
    for index, message in enumerate(file.message_type):
        yield from _of_message(message, file.package, (_MESSAGE, index))
    for index, enum in enumerate(file.enum_type):
        yield from _of_enum(enum, file.package, (_ENUM, index))


def _of_message(message: DescriptorProto, scope: str, path: _Path) -> Iterator[tuple[str, _Path]]:
    name = f"{scope}.{message.name}"
    yield name, path
    for at, field in enumerate(message.field):
        yield f"{name}.{field.name}", (*path, _FIELD, at)
    for at, oneof in enumerate(message.oneof_decl):
        yield f"{name}.{oneof.name}", (*path, _ONEOF, at)
    for at, nested in enumerate(message.nested_type):
        yield from _of_message(nested, name, (*path, _NESTED, at))
    for at, enum in enumerate(message.enum_type):
        yield from _of_enum(enum, name, (*path, _NESTED_ENUM, at))


def _of_enum(enum: EnumDescriptorProto, scope: str, path: _Path) -> Iterator[tuple[str, _Path]]:
    yield f"{scope}.{enum.name}", path
    for at, value in enumerate(enum.value):
        # Values are siblings of their enum; its name keeps those of two enums apart.
        yield f"{scope}.{enum.name}.{value.name}", (*path, _VALUE, at)


def _markdown(comment: str, *, brief: bool) -> str:
    """Return a comment with each paragraph on one line, and indented lines as code.

    `google.rpc` has pages of advice for authors of errors: a brief one is its first paragraph.
    """
    paragraphs: list[str] = []
    for paragraph in re.split(r"\n\s*\n", comment.strip("\n")):
        lines = [
            f"`{line.strip()}`" if line.startswith("   ") else line.strip()
            for line in paragraph.splitlines()
        ]
        paragraphs.append(" ".join(lines))
    return paragraphs[0] if brief else "\n\n".join(paragraphs)


def _in_json_names(text: str, fields: set[str]) -> str:
    def renamed(match: re.Match[str]) -> str:
        scope, name = match.groups()
        return f"`{scope}{json_name(name)}`" if name in fields else match[0]

    return _CODE.sub(renamed, text)


def comment(comments: Mapping[str, str], name: str) -> str:
    """Return the comment of a declaration of the contract.

    Raises:
        SystemExit: it has none.
    """
    if name not in comments:
        raise SystemExit(f"the contract has no comment for {name}")
    return comments[name]
