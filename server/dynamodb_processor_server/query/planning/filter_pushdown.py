"""The filter expression that DynamoDB is given: as much of a condition as it takes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from dynamodb_processor_server.query.expression.ast import (
    And,
    Condition,
    In,
    Literal,
    Not,
    Or,
    leaves,
    operands,
)
from dynamodb_processor_server.query.expression.values import Value, size_of
from dynamodb_processor_server.query.planning.expression_writer import (
    MAX_IN_OPERANDS,
    ExpressionWriter,
)

# DynamoDB's limits on one expression, the number of operators with some distance kept.
_MAX_EXPRESSION_BYTES: Final = 4096
_MAX_OPERATORS: Final = 280
# Values and bytes of a filter that several partitions are asked with, all together: serializing a
# value takes some 6 microseconds for each of them.
_MAX_SENT_VALUES: Final = 10_000
_MAX_SENT_BYTES: Final = 4_000_000


class PushedFilter:
    """A filter expression that grows by one conjunct at a time, within DynamoDB's limits.

    Each conjunct is rendered once: a filter of 300 is not rendered 300 times to be measured. What
    it holds is sent to each of `branches` partitions, and bounded in all.
    """

    def __init__(self, branches: int) -> None:
        self._branches = branches
        self._held = (0, 0)
        self.terms: list[Condition] = []
        self._renderer = ExpressionWriter()
        self._bytes = 0
        self._operators = -1

    def add(self, term: Condition) -> bool:
        """Append a conjunct if the filter stays within the limits; return whether it does."""
        operators = self._operators + 1 + _operators(term)
        if operators > _MAX_OPERATORS:
            return False
        renderer = self._renderer.copy()
        text = renderer.condition(And((term,)))
        # The key condition takes the first few aliases; longer ones cost a byte or two each.
        size = self._bytes + len(text) + text.count(":") + text.count("#")
        if self.terms:
            size += len(" AND ")
        if size > _MAX_EXPRESSION_BYTES:
            return False
        values, held = self._held
        if self._branches > 1:
            for count, literal_bytes in map(size_of, _literals(term)):
                values, held = values + count, held + literal_bytes
            if self._branches * values > _MAX_SENT_VALUES:
                return False
            if self._branches * held > _MAX_SENT_BYTES:
                return False
        self._held = values, held
        self.terms.append(term)
        self._renderer, self._bytes, self._operators = renderer, size, operators
        return True


def _literals(term: Condition) -> Iterator[Value]:
    for leaf in leaves(term):
        for operand in operands(leaf):
            if isinstance(operand, Literal):
                yield operand.value


def _operators(condition: Condition) -> int:
    match condition:
        case And(terms) | Or(terms):
            return len(terms) - 1 + sum(map(_operators, terms))
        case Not(term):
            return 1 + _operators(term)
    if isinstance(condition, In):
        return 2 * math.ceil(len(condition.options) / MAX_IN_OPERANDS) - 1
    return 1
