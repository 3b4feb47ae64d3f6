"""Conditions as text: the part that this language and DynamoDB's have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

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
from dynamodb_processor_server.query.expression.values import Value


class ConditionText(ABC):
    """Writes conditions with as few parentheses as possible; subclasses write paths and values."""

    #: The terms that stand in parentheses inside an AND, and inside an OR.
    IN_AND: ClassVar[tuple[type, ...]] = (Or,)
    IN_OR: ClassVar[tuple[type, ...]] = ()

    def condition(self, condition: Condition) -> str:
        """Return a condition's text."""
        match condition:
            case And(terms):
                return " AND ".join(self._term(term, self.IN_AND) for term in terms)
            case Or(terms):
                return " OR ".join(self._term(term, self.IN_OR) for term in terms)
            case Not(term):
                return f"NOT {self._term(term, (And, Or))}"
            case Comparison(operator, left, right):
                return f"{self.operand(left)} {operator} {self.operand(right)}"
            case Between(operand, low, high):
                ends = f"{self.operand(low)} AND {self.operand(high)}"
                return f"{self.operand(operand)} BETWEEN {ends}"
            case In(operand, options):
                return self.membership(self.operand(operand), list(map(self.operand, options)))
            case NotExpired():
                raise ValueError("the service alone evaluates whether an item has expired")
            case Function(name, first, argument):
                second = "" if argument is None else f", {self.operand(argument)}"
                return f"{name}({self.operand(first)}{second})"

    def operand(self, operand: Operand) -> str:
        """Return an operand's text."""
        match operand:
            case Path():
                return self.path(operand)
            case Size(subject):
                return f"size({self.operand(subject)})"
            case Literal(value):
                return self.value(value)

    def membership(self, operand: str, options: list[str]) -> str:
        """Return the text of an IN."""
        return f"{operand} IN ({', '.join(options)})"

    @abstractmethod
    def path(self, path: Path) -> str:
        """Return a document path's text."""

    @abstractmethod
    def value(self, value: Value) -> str:
        """Return a value's text."""

    def _term(self, term: Condition, parenthesized: tuple[type, ...]) -> str:
        text = self.condition(term)
        return f"({text})" if isinstance(term, parenthesized) else text
