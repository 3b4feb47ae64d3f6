"""JSON Schemas of messages in proto3 JSON, the form that the gateway reads and writes.

The mapping is that of https://protobuf.dev/programming-guides/json: 64-bit integers are strings,
bytes are base64, enums are names, times and durations are text, and fields are in lowerCamelCase.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, OneofDescriptor

from openapi.comments import comment

Schema = dict[str, Any]

_COMPONENTS: Final = "#/components/schemas/"
_EXACT: Final = 2**53 - 1  # the largest integer up to which JSON numbers are exact everywhere
_REQUIRED: Final = re.compile(r"\s*\bRequired\.")
_ALWAYS_SET: Final = re.compile(r"\bRequired\.|\balways set\b|\bUnset is not a value\b")
_INT64_TEXT: Final[Schema] = {"type": "string", "format": "int64", "pattern": "^-?[0-9]{1,19}$"}
_SCALARS: Final[Mapping[int, Schema]] = {
    FieldDescriptor.TYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptor.TYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.TYPE_INT64: _INT64_TEXT,
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BYTES: {
        "type": "string",
        "contentEncoding": "base64",
        "pattern": "^[A-Za-z0-9+/_-]*={0,2}$",
    },
}
# Requests may have numbers as well, where a number in JSON is exact.
_INT64_OF_REQUESTS: Final[Schema] = {
    **_INT64_TEXT,
    "type": ["string", "integer"],
    "minimum": -_EXACT,
    "maximum": _EXACT,
}
_WELL_KNOWN: Final[Mapping[str, Schema]] = {
    "google.protobuf.Duration": {
        "type": "string",
        "pattern": "^-?[0-9]+(\\.[0-9]{1,9})?s$",
        "examples": ["0.250s"],
    },
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
}


@dataclass
class Schemas:
    """The schemas of messages and enums, each a component that others refer to.

    Attributes:
        comments: The comments of the contract, by full name.
        bound: The full names of fields that paths bind: no body has them.
        requests: The full names of the messages in requests. They are closed, since the gateway
            refuses unknown fields. Responses may get new fields.
        components: The schemas so far, by name.
    """

    comments: Mapping[str, str]
    bound: AbstractSet[str]
    requests: AbstractSet[str]
    components: dict[str, Schema] = field(default_factory=dict)

    def reference(self, kind: Descriptor | EnumDescriptor) -> Schema:
        """Return a reference to the schema of a message or enum, which becomes a component."""
        name = component_name(kind)
        if name not in self.components:
            self.components[name] = {}  # A recursive type refers to itself.
            self.components[name] = (
                self._message(kind) if isinstance(kind, Descriptor) else self._enum(kind)
            )
        return {"$ref": _COMPONENTS + name}

    def property(self, one: FieldDescriptor) -> Schema:
        """Return the schema of a field, with its comment."""
        schema = self._value_of(one)
        text = _REQUIRED.sub("", comment(self.comments, one.full_name))
        return {**schema, "description": text} if text else schema

    def is_required(self, one: FieldDescriptor) -> bool:
        """Whether a request must have the field, as its comment says."""
        return bool(_REQUIRED.search(self.comments.get(one.full_name, "")))

    def _value_of(self, one: FieldDescriptor) -> Schema:
        entry = one.message_type if one.type == FieldDescriptor.TYPE_MESSAGE else None
        if entry is not None and entry.GetOptions().map_entry:
            value = self._single(entry.fields_by_name["value"])
            return {"type": "object", "additionalProperties": value}
        schema = self._single(one)
        return {"type": "array", "items": schema} if one.is_repeated else schema

    def _single(self, one: FieldDescriptor) -> Schema:
        if one.enum_type is not None:
            return self.reference(one.enum_type)
        if one.message_type is not None:
            known = _WELL_KNOWN.get(one.message_type.full_name)
            return dict(known) if known else self.reference(one.message_type)
        if (
            one.type == FieldDescriptor.TYPE_INT64
            and one.full_name.rpartition(".")[0] in self.requests
        ):
            return dict(_INT64_OF_REQUESTS)
        return dict(_SCALARS[one.type])

    def _message(self, message: Descriptor) -> Schema:
        fields = [one for one in message.fields if one.full_name not in self.bound]
        schema: Schema = {
            "type": "object",
            "description": comment(self.comments, message.full_name),
            "properties": {one.json_name: self.property(one) for one in fields},
        }
        required = [one.json_name for one in fields if self.is_required(one)]
        # A path that binds a field of a message makes the message.
        required = [name for name in required if not self._is_bound_below(message, name)]
        if required:
            schema["required"] = required
        if message.full_name in self.requests:
            schema["additionalProperties"] = False
        for oneof in message.oneofs:
            if not _is_optional_field(oneof):
                schema |= self._choice(message, oneof)
        return schema

    def _is_bound_below(self, message: Descriptor, name: str) -> bool:
        inner = next(one for one in message.fields if one.json_name == name).message_type
        return inner is not None and any(one.full_name in self.bound for one in inner.fields)

    def _choice(self, message: Descriptor, oneof: OneofDescriptor) -> Schema:
        """Return the keywords that demand one of a oneof's fields, or allow one at most."""
        text = comment(self.comments, oneof.full_name)
        is_set = bool(_ALWAYS_SET.search(text))
        if len(oneof.fields) == len(message.fields):
            return {"minProperties": int(is_set), "maxProperties": 1}
        each: list[Schema] = [{"required": [one.json_name]} for one in oneof.fields]
        return {"oneOf": each if is_set else [*each, {"not": {"anyOf": each}}]}

    def _enum(self, enum: EnumDescriptor) -> Schema:
        lines = [
            f"- `{value.name}`: {comment(self.comments, f'{enum.full_name}.{value.name}')}"
            for value in enum.values
        ]
        text = comment(self.comments, enum.full_name)
        return {
            "type": "string",
            "enum": [value.name for value in enum.values],
            "description": "\n".join([text, "", *lines]),
        }


def component_name(kind: Descriptor | EnumDescriptor) -> str:
    """Return a type's name without its package."""
    return str(kind.full_name).removeprefix(f"{kind.file.package}.")


def messages_within(roots: Iterable[Descriptor]) -> set[str]:
    """Return the full names of messages and of all messages in their fields."""
    found: set[str] = set()

    def visit(message: Descriptor) -> None:
        if message.full_name not in found:
            found.add(message.full_name)
            for one in message.fields:
                if one.message_type is not None:
                    visit(one.message_type)

    for root in roots:
        visit(root)
    return found


def _is_optional_field(oneof: OneofDescriptor) -> bool:
    """Whether protoc made the oneof for one `optional` field."""
    return len(oneof.fields) == 1 and oneof.name == f"_{oneof.fields[0].name}"
