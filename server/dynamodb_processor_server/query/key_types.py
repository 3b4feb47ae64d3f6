"""Checks that key attributes are only compared with values of their own type.

No item can hold another type there, so such a comparison is a mistake; DynamoDB refuses it in a key
condition, and the service refuses it wherever it stands, so that the answer does not depend on the
path chosen.
"""

from __future__ import annotations

from collections.abc import Mapping

from dynamodb_processor_server.catalog.schema import TableSchema
from dynamodb_processor_server.query.model import (
    Comparison,
    Condition,
    Function,
    Literal,
    Path,
    leaves,
    operands,
    paths,
)
from dynamodb_processor_server.query.static_types import ExpressionError
from dynamodb_processor_server.query.values import TYPE_NAMES, Value


def check_key_types(condition: Condition | None, schema: TableSchema) -> None:
    """Raise ExpressionError for the first comparison of a key attribute with another type."""
    types = schema.key_types
    for path in paths(condition):
        if path.attribute in types and len(path.parts) > 1:
            raise ExpressionError(
                f"{path.attribute} is a key attribute and has no members", path.column
            )
    for leaf in leaves(condition):
        if isinstance(leaf, Function) and leaf.name in ("attribute_type", "contains"):
            continue
        ordered = not isinstance(leaf, Comparison) or leaf.operator not in ("=", "<>")
        literals = [operand for operand in operands(leaf) if isinstance(operand, Literal)]
        for operand in operands(leaf):
            if not isinstance(operand, Path) or operand.attribute not in types:
                continue
            for literal in literals:
                _check(operand, types, literal, ordered)


def _check(path: Path, types: Mapping[str, str], literal: Literal, ordered: bool) -> None:
    expected, value = types[path.attribute], literal.value
    if value.type != expected:
        raise ExpressionError(
            f"{path.attribute} is a {TYPE_NAMES[expected]} key, not a {TYPE_NAMES[value.type]}",
            literal.column,
        )
    if not ordered and _empty(value):
        raise ExpressionError(f"{path.attribute} is a key and never empty", literal.column)


def _empty(value: Value) -> bool:
    return value.type in ("S", "B") and not value.data
