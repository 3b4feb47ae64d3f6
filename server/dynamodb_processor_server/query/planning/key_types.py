"""Checks that keys are compared only with values that they can have.

No item can have another type in a key of its table or of a local index, so such a comparison is an
error. The service refuses it anywhere in the condition, so that the answer does not depend on the
chosen path. An attribute of a global index's key may have any value in items older than the index.
There a comparison with another type is false, as in DynamoDB.
"""

from __future__ import annotations

from collections.abc import Mapping

from dynamodb_processor_server.catalog.schema import PathKind, TableSchema
from dynamodb_processor_server.query.expression.ast import (
    Comparison,
    Condition,
    Function,
    Literal,
    Path,
    compared_pairs,
    leaves,
    paths,
)
from dynamodb_processor_server.query.expression.symbolic import decide
from dynamodb_processor_server.query.expression.validation import ExpressionError
from dynamodb_processor_server.query.expression.values import TYPE_NAMES, Value


def check_key_types(condition: Condition | None, schema: TableSchema) -> None:
    """Raise ExpressionError for the first comparison of a key attribute with another type.

    Members of a key attribute are refused as well, also for global indexes, as DynamoDB does.
    """
    keys = schema.key_types
    types = {
        attribute.name: attribute.type
        for path in schema.paths
        if path.kind is not PathKind.GLOBAL
        for attribute in path.key.attributes
    }
    for path in paths(condition):
        if path.attribute in keys and len(path.parts) > 1:
            raise ExpressionError(
                f"{path.attribute} is a key attribute and has no members", path.column
            )
    for leaf in leaves(condition):
        if isinstance(leaf, Function) and leaf.name in ("attribute_type", "contains"):
            continue
        ordered = not isinstance(leaf, Comparison) or leaf.operator not in ("=", "<>")
        for path, literal in compared_pairs(leaf):
            if path.attribute in types:
                _check_comparison(path, types, literal, ordered)


def _check_comparison(
    path: Path, types: Mapping[str, str], literal: Literal, ordered: bool
) -> None:
    expected, value = types[path.attribute], literal.value
    if value.type != expected:
        raise ExpressionError(
            f"{path.attribute} is a {TYPE_NAMES[expected]} key, not a {TYPE_NAMES[value.type]}",
            literal.column,
        )
    if not ordered and value.type in ("S", "B") and decide(_is_empty, value):
        raise ExpressionError(f"{path.attribute} is a key and never empty", literal.column)


def _is_empty(value: Value) -> bool:
    return not value.data
