"""Messages in the forms of foreign clients, in both directions."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, cast

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

_WIDE = frozenset(
    {FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64},
)


def as_json(message: Message) -> dict[str, Any]:
    """Return a message as ProtoJSON, under the names of the proto file."""
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def as_plain(message: Message) -> dict[str, Any]:
    """Return a message as protobuf.js writes it: no special form for durations and times."""
    return {field.name: _plain_field(field, value) for field, value in message.ListFields()}


def _plain_field(field: FieldDescriptor, value: Any) -> Any:
    if _is_map(field):
        element = _element(field)
        return {str(key): _plain(element, value[key]) for key in value}
    if field.is_repeated:
        return [_plain(field, each) for each in value]
    return _plain(field, value)


def _plain(field: FieldDescriptor, value: Any) -> Any:
    if isinstance(value, Message):
        return as_plain(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if field.enum_type is not None:
        return field.enum_type.values_by_number[value].name
    return str(value) if field.cpp_type in _WIDE else value


def from_plain(data: Mapping[str, Any], message: Message) -> Message:
    """Fill a message from the form of protobuf.js."""
    for name, value in data.items():
        field = _field(message, name)
        target = getattr(message, name)
        if _is_map(field):
            element = _element(field)
            for key, each in value.items():
                if element.message_type is not None:
                    from_plain(each, target[key])
                else:
                    target[key] = _scalar(element, each)
        elif field.is_repeated:
            if field.message_type is not None:
                for each in value:
                    from_plain(each, target.add())
            else:
                target.extend(_scalar(field, each) for each in value)
        elif field.message_type is not None:
            target.SetInParent()
            from_plain(value, target)
        else:
            setattr(message, name, _scalar(field, value))
    return message


def _scalar(field: FieldDescriptor, value: Any) -> Any:
    if field.type == FieldDescriptor.TYPE_BYTES:
        return base64.b64decode(value)
    if field.enum_type is not None:
        return field.enum_type.values_by_name[value].number
    return int(value) if field.cpp_type in _WIDE else value


def _is_map(field: FieldDescriptor) -> bool:
    return bool(field.message_type is not None and field.message_type.GetOptions().map_entry)


def _field(message: Message, name: str) -> FieldDescriptor:
    # The two classes that implement descriptors have the same interface.
    return cast("FieldDescriptor", message.DESCRIPTOR.fields_by_name[name])


def _element(field: FieldDescriptor) -> FieldDescriptor:
    assert field.message_type is not None
    return field.message_type.fields_by_name["value"]
