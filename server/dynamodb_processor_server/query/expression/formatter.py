"""Formats conditions as expressions in the language that `parse_expression` parses.

Values without a literal form (binary, sets, documents) become parameters `:v1`, `:v2`, ….
"""

from __future__ import annotations

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
from dynamodb_processor_server.query.expression.values import Value, number_text


class ExpressionFormatter:
    """Formats conditions; `parameters` has the values of the parameters in the text so far."""

    def __init__(self) -> None:
        self.parameters: dict[str, Value] = {}

    def condition(self, condition: Condition) -> str:
        """Return a condition's text, with as few parentheses as possible."""
        match condition:
            case And(terms):
                return " AND ".join(self._term(term, (And, Or)) for term in terms)
            case Or(terms):
                return " OR ".join(self._term(term, (Or,)) for term in terms)
            case Not(term):
                return f"NOT {self._term(term, (And, Or))}"
            case Comparison(operator, left, right):
                return f"{self.operand(left)} {operator} {self.operand(right)}"
            case Between(operand, low, high):
                ends = f"{self.operand(low)} AND {self.operand(high)}"
                return f"{self.operand(operand)} BETWEEN {ends}"
            case In(operand, options):
                return f"{self.operand(operand)} IN ({', '.join(map(self.operand, options))})"
            case NotExpired():
                raise ValueError("the service alone evaluates whether an item has expired")
            case Function(name, first, argument):
                second = "" if argument is None else f", {self.operand(argument)}"
                return f"{name}({self.operand(first)}{second})"

    def operand(self, operand: Operand) -> str:
        """Return an operand's text."""
        match operand:
            case Path():
                return str(operand)
            case Size(subject):
                return f"size({self.operand(subject)})"
            case Literal(value):
                return self._value(value)

    def _value(self, value: Value) -> str:
        match value.type:
            case "S":
                text: str = value.data
                return "'" + text.replace("'", "''") + "'"
            case "N":
                return number_text(value.data)
            case "BOOL":
                return "true" if value.data else "false"
            case "NULL":
                return "null"
        name = f"v{len(self.parameters) + 1}"
        self.parameters[name] = value
        return f":{name}"

    def _term(self, term: Condition, parenthesized: tuple[type, ...]) -> str:
        text = self.condition(term)
        return f"({text})" if isinstance(term, parenthesized) else text
