"""Parsing of expressions with parameters."""

from __future__ import annotations

from dynamodb_processor_server.query.expression.ast import (
    Condition,
)
from dynamodb_processor_server.query.expression.parser import (
    parse_expression,
)
from dynamodb_processor_server.query.expression.values import Value


def parse(text: str, **parameters: Value) -> Condition:
    """Parse an expression with parameters."""
    return parse_expression(text, parameters)
