"""Writes conditions as DynamoDB's expression strings, with an alias for every name and value.

Aliases make reserved words, odd names and literals possible. DynamoDB refuses 573 reserved words in
plain text, `timestamp` among them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from dynamodb_processor_server.query.expression.ast import Path
from dynamodb_processor_server.query.expression.condition_text import ConditionText
from dynamodb_processor_server.query.expression.symbolic import derive
from dynamodb_processor_server.query.expression.values import Value, to_wire

MAX_IN_OPERANDS: Final = 100  # DynamoDB's limit
_PATH_PARTS: Final = re.compile(r"#\d+|\d+")  # aliases, and the indexes of list elements


class ExpressionWriter(ConditionText):
    """Writes the expressions of one request, which share its names and values."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._values: dict[Value, str] = {}

    def copy(self) -> ExpressionWriter:
        """Return an independent writer with the same names and values so far."""
        other = ExpressionWriter()
        other._names, other._values = self._names.copy(), self._values.copy()
        return other

    @property
    def names(self) -> Mapping[str, str]:
        """The request's ExpressionAttributeNames."""
        return {alias: name for name, alias in self._names.items()}

    @property
    def values(self) -> Mapping[str, dict[str, Any]]:
        """The request's ExpressionAttributeValues."""
        return {alias: derive(to_wire, value) for value, alias in self._values.items()}

    def path(self, path: Path) -> str:
        """Return a document path's text."""
        text = ""
        for part in path.parts:
            if isinstance(part, int):
                text += f"[{part}]"
            else:
                text += ("." if text else "") + self._names.setdefault(part, f"#{len(self._names)}")
        return text

    def value(self, value: Value) -> str:
        """Return the alias of a value."""
        return self._values.setdefault(value, f":{len(self._values)}")

    def membership(self, operand: str, options: list[str]) -> str:
        """Return the text of an IN, or of several if DynamoDB allows fewer options in one."""
        most = MAX_IN_OPERANDS
        parts = [options[first : first + most] for first in range(0, len(options), most)]
        chunks = [f"{operand} IN ({', '.join(part)})" for part in parts]
        return chunks[0] if len(chunks) == 1 else f"({' OR '.join(chunks)})"


def requested_paths(request: Mapping[str, Any]) -> tuple[Path, ...]:
    """Return the paths that a request's ProjectionExpression names; none if it requests all.

    The expression must have been written by an `ExpressionWriter`, with an alias for each name.
    """
    text, names = request.get("ProjectionExpression"), request.get("ExpressionAttributeNames", {})
    if text is None:
        return ()
    return tuple(
        Path(
            tuple(
                names[part] if part.startswith("#") else int(part)
                for part in _PATH_PARTS.findall(path)
            )
        )
        for path in text.split(", ")
    )
