"""The types of requests as Lua, for the filter that checks JSON before it is transcoded.

Envoy's transcoder ignores a body field that the contract does not have, so a misspelt `max_items`
would read everything. It also answers an unknown enum name in plain text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from gateway.errors import CHECK_METADATA, DOMAIN, REFUSALS, deadline_status
from gateway.rules import Rule, field_at

_LUA: Final = Path(__file__).parent / "lua"
_CODE: Final = ("text.lua", "json.lua", "fields.lua", "request.lua")
_WRITTEN: Final = "-- Written by deploy/envoy/build: changes belong into deploy/envoy/gateway/lua."
_WELL_KNOWN: Final = {
    "google.protobuf.Duration": "duration",
    "google.protobuf.Timestamp": "timestamp",
}
_KINDS: Final = {
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BYTES: "bytes",
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_DOUBLE: "double",
    FieldDescriptor.TYPE_ENUM: "enum",
    FieldDescriptor.TYPE_MESSAGE: "message",
}
# The server's bounds on requests, in bytes of the message: JSON takes at least as many.
_MAX_BYTES: Final = {"CacheService": 131_072, "QueryService": 1_048_576}
# Characters with a meaning in Lua's patterns.
_MAGIC: Final = frozenset("^$()%.[]*+-?")


class SchemaError(Exception):
    """The contract has a field of a type that the filter cannot check."""


def filter_source(rules: Sequence[Rule]) -> str:
    """Return the whole source of the filter.

    Raises:
        SchemaError: a request has a field of a type that the filter cannot check.
    """
    text, *code = ((_LUA / name).read_text(encoding="utf-8") for name in _CODE)
    return "\n".join([*_constants(), text, *code[:1], *_types(rules), *code[1:]])


def deadline_source() -> str:
    """Return the source of the filter that gives deadlines their details."""
    status = f"local DEADLINE_STATUS = {_quoted(deadline_status())}"
    return "\n".join([_WRITTEN, status, (_LUA / "deadline.lua").read_text(encoding="utf-8")])


def _constants() -> Iterator[str]:
    yield _WRITTEN
    yield f"local DOMAIN = {_quoted(DOMAIN)}"
    yield f"local CHECK_METADATA = {_quoted(CHECK_METADATA)}"
    entries = ", ".join(
        f'{reason} = {{ http = "{refusal.http}", code = {refusal.code} }}'
        for reason, refusal in REFUSALS.items()
    )
    yield f"local REFUSALS = {{ {entries} }}"


def _types(rules: Sequence[Rule]) -> Iterator[str]:
    messages = _reachable(rules)
    bound = {field_at(rule.method.input_type, path) for rule in rules for path in rule.bindings}
    yield "local ENUMS, MESSAGES = {}, {}"
    for enum in _enums(messages):
        names = ", ".join(f"{value.name} = true" for value in enum.values)
        numbers = ", ".join(f'["{value.number}"] = true' for value in enum.values)
        listing = _quoted(", ".join(value.name for value in enum.values))
        yield f"ENUMS.{enum.name} = {{ listing = {listing},"
        yield f"  names = {{ {names} }},"
        yield f"  numbers = {{ {numbers} }} }}"
    for message in messages:
        listing = _quoted(", ".join(field.name for field in message.fields) or "no fields")
        yield f'MESSAGES.{message.name} = {{ name = "{message.name}", listing = {listing} }}'
    for message in messages:
        yield f"MESSAGES.{message.name}.fields = {{"
        for field in message.fields:
            yield f'  ["{field.name}"] = {_field(field, field in bound)},'
        yield "}"
        for field in message.fields:
            if field.json_name != field.name:
                fields = f"MESSAGES.{message.name}.fields"
                yield f'{fields}["{field.json_name}"] = {fields}["{field.name}"]'
    yield "local RULES = {}"
    for rule in rules:
        yield f"RULES[{_quoted(rule.name)}] = {{ {', '.join(_rule(rule))} }}"


def _rule(rule: Rule) -> Iterator[str]:
    """Yield the entries of a rule's table."""
    request = rule.method.input_type
    yield f"pattern = {_quoted(_pattern(rule))}"
    yield f"bindings = {{ {', '.join(map(_quoted, rule.bindings))} }}"
    yield f"streams = {str(rule.method.server_streaming).lower()}"
    if rule.has_body:
        yield f"message = MESSAGES.{request.name}"
        yield f"max_bytes = {_MAX_BYTES[rule.method.containing_service.name]}"
    parameters = [] if rule.has_body else [f for f in request.fields if f.name not in rule.bindings]
    names = {
        name: f'MESSAGES.{request.name}.fields["{field.name}"]'
        for field in parameters
        for name in (field.name, field.json_name)
    }
    yield f"parameters = {{ {', '.join(f'{name} = {value}' for name, value in names.items())} }}"
    yield f"listing = {_quoted(', '.join(f.name for f in parameters) or 'none')}"


def _pattern(rule: Rule) -> str:
    """Return Lua's pattern of a rule's path, which captures the bound values."""
    parts = rule.path_parts
    return "^" + "".join("([^/:]+)" if at % 2 else _escaped(p) for at, p in enumerate(parts)) + "$"


def _escaped(text: str) -> str:
    return "".join(f"%{char}" if char in _MAGIC else char for char in text)


def _reachable(rules: Sequence[Rule]) -> list[Descriptor]:
    """Return the messages that requests consist of, each once."""
    found: dict[str, Descriptor] = {}

    def visit(message: Descriptor) -> None:
        if message.full_name in found or message.full_name in _WELL_KNOWN:
            return
        found[message.full_name] = message
        for field in message.fields:
            element = _element(field)
            if element.message_type is not None:
                visit(element.message_type)

    for rule in rules:
        visit(rule.method.input_type)
    if len({message.name for message in found.values()}) < len(found):
        raise SchemaError("two messages of requests have the same name")
    return list(found.values())


def _enums(messages: Sequence[Descriptor]) -> list[EnumDescriptor]:
    fields = (_element(field) for message in messages for field in message.fields)
    found = {field.enum_type.full_name: field.enum_type for field in fields if field.enum_type}
    return list(found.values())


def _is_map(field: FieldDescriptor) -> bool:
    return bool(field.message_type is not None and field.message_type.GetOptions().map_entry)


def _element(field: FieldDescriptor) -> FieldDescriptor:
    """Return the field of a map's values, and any other field itself."""
    if field.message_type is None or not _is_map(field):
        return field
    key, value = (field.message_type.fields_by_name[name] for name in ("key", "value"))
    if key.type != FieldDescriptor.TYPE_STRING:
        raise SchemaError(f"{field.full_name}: keys of maps must be text")
    return value


def _field(field: FieldDescriptor, is_bound: bool) -> str:
    element = _element(field)
    kind = _KINDS.get(element.type)
    entries = [f'name = "{field.name}"']
    if element.message_type is not None and element.message_type.full_name in _WELL_KNOWN:
        kind = _WELL_KNOWN[element.message_type.full_name]
    elif kind == "message" and element.message_type is not None:
        if element.message_type.file.package.startswith("google."):
            raise SchemaError(f"{field.full_name}: the filter cannot check its type")
        entries.append(f"type = MESSAGES.{element.message_type.name}")
    elif kind == "enum" and element.enum_type is not None:
        entries.append(f"type = ENUMS.{element.enum_type.name}")
    if kind is None:
        raise SchemaError(f"{field.full_name}: the filter cannot check its type")
    entries.append(f'kind = "{kind}"')
    if field.is_repeated:
        entries.append(f'repeats = "{"map" if _is_map(field) else "list"}"')
    if field.containing_oneof is not None and len(field.containing_oneof.fields) > 1:
        entries.append(f'oneof = "{field.containing_oneof.name}"')
    if is_bound:
        entries.append("is_bound = true")
    return f"{{ {', '.join(entries)} }}"


def _quoted(text: str) -> str:
    """Return text as a Lua string. Lua reads the escapes of JSON for printable ASCII."""
    assert text.isascii()
    return json.dumps(text)
