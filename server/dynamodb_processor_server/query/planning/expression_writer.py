"""Writes conditions as DynamoDB's expression strings, with an alias for every name and value.

Aliases make reserved words, odd names and literals possible. DynamoDB refuses 573 reserved words in
plain text, `timestamp` among them.
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
        return {alias: to_wire(value) for value, alias in self._values.items()}

    def condition(self, condition: Condition) -> str:
        """Return a condition's text, with as few parentheses as possible."""
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
        """Return an IN, or several if it has more options than DynamoDB allows in one."""
        subject = self._operand(operand)
        listed = [self._operand(option) for option in options]
        chunks = [
            f"{subject} IN ({', '.join(listed[first : first + MAX_IN_OPERANDS])})"
            for first in range(0, len(listed), MAX_IN_OPERANDS)
        ]
        return chunks[0] if len(chunks) == 1 else f"({' OR '.join(chunks)})"

    def _term(self, term: Condition, parenthesized: type | tuple[type, ...]) -> str:
        text = self.condition(term)
        return f"({text})" if isinstance(term, parenthesized) else text

    def _operand(self, operand: Operand) -> str:
        match operand:
            case Path():
                return self.path(operand)
            case Size(subject):
                return f"size({self._operand(subject)})"
            case Literal(value):
                return self._values.setdefault(value, f":{len(self._values)}")
