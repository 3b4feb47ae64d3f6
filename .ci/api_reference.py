"""Writes the API reference from the comments of the contract, or with --check compares it.

The page lists every service, message and enum of `proto/`, each with its comment. protoc parses the
files, so a comment belongs to the declaration that protoc attaches it to.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "reference" / "api.md"
_PACKAGE: Final = ".dynamodb_processor.v1."
_SERVICE, _MESSAGE, _ENUM = 6, 4, 5  # numbers of FileDescriptorProto's fields
_METHOD, _FIELD, _ONEOF, _NESTED, _NESTED_ENUM, _VALUE = 2, 2, 8, 3, 4, 2  # and of those below it
_SCALARS: Final = {
    number: name.removeprefix("TYPE_").lower() for name, number in FieldDescriptorProto.Type.items()
}
_HEAD: Final = """\
# API reference

Use this page to look up a method, message or field. `make api` writes it from the comments in
[proto/dynamodb_processor/v1](../../proto/dynamodb_processor/v1).

- The package is `dynamodb_processor.v1`. gRPC calls a method by its full name, such as
  `/dynamodb_processor.v1.QueryService/Query`.
- A field without a value has its type's zero value. `optional` fields and messages may be absent.
- [Errors](errors.md) lists the reasons of every status.
"""


@dataclass(frozen=True)
class _Comments:
    """The comments of one file, by the path of the declaration."""

    by_path: dict[tuple[int, ...], str]

    def __getitem__(self, path: Sequence[int]) -> str:
        """Return the comment of the declaration; raises SystemExit if there is none."""
        text = self.by_path.get(tuple(path), "")
        if not text:
            raise SystemExit(f"the contract has no comment for the declaration {tuple(path)}")
        return text


def page() -> str:
    """Return the whole page in Markdown."""
    files = list(_parsed())
    parts = [_HEAD]
    parts += [
        _service(file, service, index, _comments(file))
        for file in files
        for index, service in enumerate(file.service)
    ]
    sections = [section for file in files for section in _types(file)]
    parts += [text for _, text in sorted(sections)]
    return "\n".join(parts)


def _parsed() -> Iterator[FileDescriptorProto]:
    """Yield the files of the contract as protoc parses them, comments included."""
    sources = sorted(ROOT.glob("proto/dynamodb_processor/v1/*.proto"))
    names = [str(source.relative_to(ROOT / "proto")) for source in sources]
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "contract"
        command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT / 'proto'}"]
        options = ["--include_source_info", f"--descriptor_set_out={target}"]
        subprocess.run([*command, *options, *names], check=True)
        yield from FileDescriptorSet.FromString(target.read_bytes()).file


def _comments(file: FileDescriptorProto) -> _Comments:
    """Return the comments before the declarations of the file."""
    return _Comments(
        {
            tuple(place.path): _paragraphs(place.leading_comments)
            for place in file.source_code_info.location
        }
    )


def _paragraphs(comment: str) -> str:
    """Return the comment with each of its paragraphs on one line."""
    return "\n\n".join(
        " ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", comment.strip())
    )


def _service(
    file: FileDescriptorProto, service: ServiceDescriptorProto, index: int, comments: _Comments
) -> str:
    """Return the section of a service: its comment, and a table of its methods."""
    path = (_SERVICE, index)
    lines = [f"## {service.name}", "", comments[path], ""]
    lines += ["| method | request | response | meaning |", "|---|---|---|---|"]
    for number, method in enumerate(service.method):
        stream = "stream of " if method.server_streaming else ""
        lines.append(
            f"| `{method.name}` | {_link(method.input_type)} | {stream}{_link(method.output_type)} "
            f"| {_cell(comments[(*path, _METHOD, number)])} |"
        )
    return "\n".join([*lines, ""])


def _types(file: FileDescriptorProto) -> Iterator[tuple[str, str]]:
    """Yield name and section of each message and enum of the file."""
    comments = _comments(file)
    for index, message in enumerate(file.message_type):
        yield from _message(message, message.name, (_MESSAGE, index), comments)
    for index, enum in enumerate(file.enum_type):
        yield enum.name, _enum(enum, enum.name, (_ENUM, index), comments)


def _message(
    message: DescriptorProto, name: str, path: tuple[int, ...], comments: _Comments
) -> Iterator[tuple[str, str]]:
    """Yield name and section of a message and of the types in it, except maps' entries."""
    lines = [f"## {name}", "", comments[path], ""]
    if message.field:
        lines += ["| field | number | type | meaning |", "|---|---|---|---|"]
    entries = {nested.name for nested in message.nested_type if nested.options.map_entry}
    for index, field in enumerate(message.field):
        meaning = _cell(comments[(*path, _FIELD, index)])
        if field.HasField("oneof_index") and not field.proto3_optional:
            meaning += f" One of `{message.oneof_decl[field.oneof_index].name}`."
        kind = _kind(field, message, entries)
        lines.append(f"| `{field.name}` | {field.number} | {kind} | {meaning} |")
    yield name, "\n".join([*lines, ""])
    for index, nested in enumerate(message.nested_type):
        if nested.name not in entries:
            inner = (*path, _NESTED, index)
            yield from _message(nested, f"{name}.{nested.name}", inner, comments)
    for index, enum in enumerate(message.enum_type):
        inner = (*path, _NESTED_ENUM, index)
        yield f"{name}.{enum.name}", _enum(enum, f"{name}.{enum.name}", inner, comments)


def _enum(enum: EnumDescriptorProto, name: str, path: tuple[int, ...], comments: _Comments) -> str:
    """Return the section of an enum: its comment, and a table of its values."""
    lines = [f"## {name}", "", comments[path], ""]
    lines += ["| value | number | meaning |", "|---|---|---|"]
    lines += [
        f"| `{value.name}` | {value.number} | {_cell(comments[(*path, _VALUE, index)])} |"
        for index, value in enumerate(enum.value)
    ]
    return "\n".join([*lines, ""])


def _kind(field: FieldDescriptorProto, message: DescriptorProto, entries: set[str]) -> str:
    """Return the type of the field, with a link to its section if it has one."""
    short = field.type_name.rpartition(".")[2]
    if short in entries:
        entry = next(nested for nested in message.nested_type if nested.name == short)
        key, value = (_kind(part, message, set()) for part in entry.field)
        return f"map of {key} to {value}"
    kind = _link(field.type_name) if field.type_name else _SCALARS[field.type]
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return f"repeated {kind}"
    return f"optional {kind}" if field.proto3_optional else kind


def _link(type_name: str) -> str:
    """Return a link to the section of the type, or a well-known type's name."""
    name = type_name.removeprefix(_PACKAGE)
    if name == type_name:
        return f"`{type_name.removeprefix('.')}`"
    return f"[{name}](#{name.replace('.', '').lower()})"


def _cell(text: str) -> str:
    """Return the comment so that it may stand in a table's cell."""
    return text.replace("\n\n", " ").replace("|", "\\|")


def main() -> int:
    """Write or compare, as the arguments say."""
    wanted = page()
    if "--check" not in sys.argv:
        PAGE.write_text(wanted, encoding="utf-8")
        return 0
    current = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    if wanted != current:
        sys.stderr.write(f"{PAGE.name}: out of date, run make api\n")
    return int(wanted != current)


if __name__ == "__main__":
    sys.exit(main())
