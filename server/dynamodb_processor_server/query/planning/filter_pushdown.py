"""Filter pushdown: builds a filter expression for DynamoDB within its limits."""

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
from dynamodb_processor_server.query.expression.symbolic import decide, derive
from dynamodb_processor_server.query.expression.values import Value, size_of
from dynamodb_processor_server.query.planning.expression_writer import (
    MAX_IN_OPERANDS,
    ExpressionWriter,
)

# DynamoDB's limits on one expression; the number of operators is kept some way below its limit.
_MAX_EXPRESSION_BYTES: Final = 4096
_MAX_OPERATORS: Final = 280
# Limits for a filter that is sent to several partitions, over all of them: to serialize a value
# takes about 6 microseconds for each partition.
_MAX_SENT_VALUES: Final = 10_000
_MAX_SENT_BYTES: Final = 4_000_000


class PushedFilter:
    """A filter expression that grows by one conjunct at a time, within DynamoDB's limits.

    Each conjunct is written once, instead of writing the whole filter again to measure it. The
    filter's values are sent to each of `branches` partitions, and their total is bounded.
    """

    def __init__(self, branches: int) -> None:
        self._branches = branches
        self._totals = (0, 0)  # of the values: their number, and their bytes
        self.terms: list[Condition] = []
        self._writer = ExpressionWriter()
        self._bytes = 0
        self._operators = -1

    def add(self, term: Condition) -> bool:
        """Add a conjunct if the filter stays within the limits; return whether it was added."""
        operators = self._operators + 1 + _operators(term)
        if operators > _MAX_OPERATORS:
            return False
        writer = self._writer.copy()
        text = writer.condition(And((term,)))
        # The key condition uses the first few aliases; longer ones cost a byte or two each.
        size = self._bytes + len(text) + text.count(":") + text.count("#")
        if self.terms:
            size += len(" AND ")
        if size > _MAX_EXPRESSION_BYTES:
            return False
        totals = self._totals
        if self._branches > 1:
            totals = derive(_with_sizes, totals, *_literals(term))
            if not decide(_can_send, self._branches, totals):
                return False
        self._totals = totals
        self.terms.append(term)
        self._writer, self._bytes, self._operators = writer, size, operators
        return True


def _with_sizes(totals: tuple[int, int], *values: Value) -> tuple[int, int]:
    """Return the number and the bytes of values, with some more values."""
    count, size = totals
    for value in values:
        more, bytes_more = size_of(value)
        count, size = count + more, size + bytes_more
    return count, size


def _can_send(branches: int, totals: tuple[int, int]) -> bool:
    """Return whether as many values, with as many bytes, can be sent to so many partitions."""
    count, size = totals
    return branches * count <= _MAX_SENT_VALUES and branches * size <= _MAX_SENT_BYTES


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
