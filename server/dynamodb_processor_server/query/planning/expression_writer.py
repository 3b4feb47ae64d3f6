"""From the model back to DynamoDB's expression strings, every name and value aliased.

Aliasing is what makes reserved words, odd names and literals a non-issue: 573 words, `timestamp`
among them, are refused in plain text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from dynamodb_processor_server.query.expression.ast import (
    And,
    Between,
    Comparison,
    Condition,
    Function,
    In,
    Literal,
    Not,
    NotExpired,
    Operand,
    Or,
    Path,
    Size,
)
from dynamodb_processor_server.query.expression.values import Value, to_wire

MAX_IN_OPERANDS: Final = 100  # DynamoDB's limit


class ExpressionWriter:
    """Renders the expressions of one request; they share its names and values."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._values: dict[Value, str] = {}

    def copy(self) -> ExpressionWriter:
        """Return a renderer that goes on from here on its own."""
        other = ExpressionWriter()
        other._names, other._values = self._names.copy(), self._values.copy()
        return other

    @property
    def names(self) -> Mapping[str, str]:
        """ExpressionAttributeNames."""
        return {alias: name for name, alias in self._names.items()}

    @property
    def values(self) -> Mapping[str, dict[str, Any]]:
        """ExpressionAttributeValues."""
        return {alias: to_wire(value) for value, alias in self._values.items()}

    def condition(self, condition: Condition) -> str:
        """Return a condition's text, with no more parentheses than it needs."""
        match condition:
            case And(terms):
                return " AND ".join(self._term(term, Or) for term in terms)
            case Or(terms):
                return " OR ".join(self._term(term, ()) for term in terms)
            case Not(term):
                return f"NOT {self._term(term, (And, Or))}"
            case Comparison(operator, left, right):
                return f"{self._operand(left)} {operator} {self._operand(right)}"
            case Between(operand, low, high):
                ends = f"{self._operand(low)} AND {self._operand(high)}"
                return f"{self._operand(operand)} BETWEEN {ends}"
            case In(operand, options):
                return self._membership(operand, options)
            case NotExpired():
                raise ValueError("the service alone evaluates whether an item has expired")
            case Function(name, first, argument):
                second = "" if argument is None else f", {self._operand(argument)}"
                return f"{name}({self._operand(first)}{second})"

    def path(self, path: Path) -> str:
        """Return a document path's text."""
        text = ""
        for part in path.parts:
            if isinstance(part, int):
                text += f"[{part}]"
            else:
                text += ("." if text else "") + self._names.setdefault(part, f"#{len(self._names)}")
        return text

    def _membership(self, operand: Operand, options: tuple[Operand, ...]) -> str:
        """Return an IN, as several where it has more options than DynamoDB takes in one."""
        subject = self._operand(operand)
        listed = [self._operand(option) for option in options]
        chunks = [
            f"{subject} IN ({', '.join(listed[first : first + MAX_IN_OPERANDS])})"
            for first in range(0, len(listed), MAX_IN_OPERANDS)
        ]
        return chunks[0] if len(chunks) == 1 else f"({' OR '.join(chunks)})"

    def _term(self, term: Condition, wrapped: type | tuple[type, ...]) -> str:
        text = self.condition(term)
        return f"({text})" if isinstance(term, wrapped) else text

    def _operand(self, operand: Operand) -> str:
        match operand:
            case Path():
                return self.path(operand)
            case Size(subject):
                return f"size({self._operand(subject)})"
            case Literal(value):
                return self._values.setdefault(value, f":{len(self._values)}")
