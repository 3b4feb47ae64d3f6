"""Keys, and key conditions of expressions on them."""

from __future__ import annotations

from dynamodb_processor_server.catalog.schema import KeyAttribute, KeySchema
from dynamodb_processor_server.query.expression.ast import (
    Condition,
    conjuncts,
)
from dynamodb_processor_server.query.expression.parser import parse_expression
from dynamodb_processor_server.query.expression.values import Value
from dynamodb_processor_server.query.planning.key_condition import (
    KeyCondition,
    key_condition,
)

KEY = KeySchema((KeyAttribute("p", "S"),), (KeyAttribute("s", "N"),))
MULTI = KeySchema(
    (KeyAttribute("p", "S"), KeyAttribute("q", "S")),
    (KeyAttribute("s", "N"), KeyAttribute("t", "N"), KeyAttribute("u", "S")),
)

A = Value("S", "a")


def key_condition_of(text: str, key: KeySchema = KEY, **parameters: Value) -> KeyCondition:
    """Return the key condition of an expression."""
    return key_condition(key, conjuncts(parse_expression(text, parameters)))


def terms_of(text: str) -> tuple[Condition, ...]:
    """Return the conjuncts of an expression; none for an empty one."""
    return conjuncts(parse_expression(text, {})) if text else ()
