"""Static rules by which DynamoDB refuses an expression for any content of the items.

They are checked on the whole expression before planning. So an error is the same on every access
path, whether DynamoDB or the service would have evaluated that part.
Source: answers of DynamoDB Local 3.3.0 and the API reference's "condition expressions" page.
"""

from __future__ import annotations

from dynamodb_processor_server.query.expression.ast import (
    Between,
    Comparison,
    Condition,
    Function,
    In,
    Literal,
    Operand,
    Path,
    Size,
    leaves,
    operands,
)
from dynamodb_processor_server.query.expression.symbolic import decide
from dynamodb_processor_server.query.expression.values import (
    ORDERED_TYPES,
    TYPE_NAMES,
    TYPES,
    Value,
)


class ExpressionError(Exception):
    """An invalid expression. `column` counts from 1; 0 means the expression as a whole."""

    def __init__(self, message: str, column: int) -> None:
        super().__init__(f"column {column}: {message}" if column else message)
        self.column = column


def check(condition: Condition) -> None:
    """Raise ExpressionError for the first leaf, left to right, that DynamoDB would refuse."""
    for leaf in leaves(condition):
        if all(map(_is_constant, operands(leaf))):
            raise ExpressionError("compares values only, no attribute", leaf.column)
        for operand in operands(leaf):
            _check_size(operand)
        match leaf:
            case Comparison():
                _check_comparison(leaf)
            case Between():
                _check_between(leaf)
            case In():
                _check_in(leaf)
            case Function():
                _check_function(leaf)


def _check_comparison(leaf: Comparison) -> None:
    _check_distinct(leaf.left, leaf.right)
    if leaf.operator in ("=", "<>"):
        return
    for operand in (leaf.left, leaf.right):
        _check_ordered(operand, leaf.operator)


def _check_between(leaf: Between) -> None:
    for operand in (leaf.operand, leaf.low, leaf.high):
        _check_ordered(operand, "BETWEEN")
    for end in (leaf.low, leaf.high):
        _check_distinct(leaf.operand, end)
    if isinstance(leaf.low, Literal) and isinstance(leaf.high, Literal):
        low, high = leaf.low.value, leaf.high.value
        if low.type != high.type:
            names = f"{TYPE_NAMES[low.type]} and {TYPE_NAMES[high.type]}"
            raise ExpressionError(f"BETWEEN needs two ends of one type, not {names}", leaf.column)
        # The order of the ends is not a static error: an empty range matches no item.


def _check_in(leaf: In) -> None:
    for option in leaf.options:
        _check_distinct(leaf.operand, option)


def _check_function(leaf: Function) -> None:
    argument = leaf.argument
    if argument is None:
        return
    _check_distinct(leaf.path, argument)
    if leaf.name == "begins_with":
        _check_begins_with(leaf.path, leaf.column)
        _check_begins_with(argument, leaf.column)
    if not isinstance(argument, Literal):
        if leaf.name == "attribute_type":
            raise ExpressionError("attribute_type needs a type's name, such as 'S'", leaf.column)
        return
    value = argument.value
    if leaf.name == "attribute_type" and (value.type != "S" or not decide(_names_type, value)):
        raise ExpressionError(
            f"attribute_type needs one of {', '.join(sorted(TYPES))}", argument.column
        )


def _names_type(value: Value) -> bool:
    return value.data in TYPES


def _is_constant(operand: Operand) -> bool:
    return isinstance(operand, Literal) or (
        isinstance(operand, Size) and isinstance(operand.path, Literal)
    )


def _check_size(operand: Operand) -> None:
    if isinstance(operand, Size) and isinstance(operand.path, Literal):
        kind = operand.path.value.type
        if kind in ("N", "BOOL", "NULL"):
            raise ExpressionError(f"a {TYPE_NAMES[kind]} has no size", operand.column)


def _check_begins_with(operand: Operand, column: int) -> None:
    if isinstance(operand, Size):
        raise ExpressionError("begins_with needs a string or binary value, not a size", column)
    if isinstance(operand, Literal) and operand.value.type not in ("S", "B"):
        found = TYPE_NAMES[operand.value.type]
        raise ExpressionError(
            f"begins_with needs a string or binary value, not a {found}", operand.column
        )


def _check_ordered(operand: Operand, operator: str) -> None:
    if isinstance(operand, Literal) and operand.value.type not in ORDERED_TYPES:
        found = TYPE_NAMES[operand.value.type]
        raise ExpressionError(
            f"{operator} needs a string, number or binary value, not a {found}", operand.column
        )


def _check_distinct(first: Operand, other: Operand) -> None:
    # DynamoDB accepts equal sizes and equal values.
    if isinstance(first, Path) and first == other:
        raise ExpressionError("compares an attribute with itself", other.column)
