"""What is wrong with a request, gathered within bounds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeVar

from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from dynamodb_processor_server.errors import MAX_VIOLATIONS, FieldViolation, InvalidRequest

_Message = TypeVar("_Message", bound=Message)

# Bytes of unknown fields that are looked into. What protobuf makes of more takes 400 ns and 100
# bytes for each field.
_MAX_UNKNOWN_BYTES: Final = 4_096
_UNKNOWN: Final = "which this server does not know"


class Violations:
    """Gathers what is wrong with a request: the first few, and how many there are besides."""

    def __init__(self, found: Iterable[FieldViolation] = ()) -> None:
        self._found = list(found)
        self._more = 0

    @property
    def found(self) -> tuple[FieldViolation, ...]:
        """What was noted so far, at most `MAX_VIOLATIONS`."""
        return tuple(self._found)

    @property
    def full(self) -> bool:
        """Whether further violations are only counted, so that looking for them is in vain."""
        return len(self._found) >= MAX_VIOLATIONS

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, field: str, description: str) -> None:
        """Note one mistake."""
        if self.full:
            self._more += 1
        else:
            self._found.append(FieldViolation(field, description))

    def raise_any(self) -> None:
        """Raise InvalidRequest if anything was noted."""
        if self._found:
            raise InvalidRequest(self._found, self._more)


def check_unknown(message: Message, path: str, violations: Violations) -> None:
    """Note fields that this server does not know, at any depth: one may be a restriction.

    How long this takes does not grow with the number of unknown fields, but it does with that of
    messages: what a message holds is bounded before.
    """
    unknown = _unknown_bytes(message)
    if unknown > _MAX_UNKNOWN_BYTES:
        violations.add(path, f"has {unknown} bytes of fields {_UNKNOWN}")
    elif unknown:
        _note_unknown(message, path, violations)


def _unknown_bytes(message: _Message) -> int:
    known = type(message)()
    known.CopyFrom(message)
    known.DiscardUnknownFields()
    return message.ByteSize() - known.ByteSize()


def _note_unknown(message: Message, path: str, violations: Violations) -> None:
    for field in UnknownFieldSet(message):  # type: ignore[attr-defined]  # the stubs lack iteration
        violations.add(path, f"has field {field.field_number}, {_UNKNOWN}")
    for descriptor, value in message.ListFields():
        if descriptor.message_type is None:
            continue
        below = f"{path}.{descriptor.name}"
        if isinstance(value, Message):
            _note_unknown(value, below, violations)
        elif descriptor.message_type.GetOptions().map_entry:
            for key in value:
                if isinstance(value[key], Message):
                    _note_unknown(value[key], f"{below}[{truncated(key)}]", violations)
        else:
            for element in value:
                _note_unknown(element, below, violations)


def truncated(key: object) -> str:
    """Return a map's key as a field path has it; keys are as long as their callers please."""
    return repr(key[:60] if isinstance(key, str) else key)
