"""Which attributes an item must have for a condition to hold."""

from __future__ import annotations

from dynamodb_processor_server.query.model import (
    And,
    Comparison,
    Condition,
    Function,
    Not,
    Operand,
    Or,
    Path,
    Size,
    operands,
)


def implied_attributes(condition: Condition | None) -> frozenset[str]:
    """Return attributes without which no item meets the condition.

    A missing attribute fails every comparison but `<>`, and every function but
    `attribute_not_exists`.
    """
    match condition:
        case None | Not():
            return frozenset()
        case And(terms):
            return frozenset().union(*(implied_attributes(term) for term in terms))
        case Or(terms):
            sets = [implied_attributes(term) for term in terms]
            return sets[0].intersection(*sets[1:])
        case Comparison("<>", _, _) | Function("attribute_not_exists"):
            return frozenset()
        case Comparison() | Function():
            return frozenset(filter(None, map(_attribute, operands(condition))))
        case _:  # BETWEEN and IN: only the first operand is needed by every way to hold
            name = _attribute(operands(condition)[0])
            return frozenset() if name is None else frozenset((name,))


def _attribute(operand: Operand) -> str | None:
    match operand:
        case Path():
            return operand.attribute
        case Size(path):
            return path.attribute
    return None
