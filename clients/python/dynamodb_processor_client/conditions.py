"""Renders conditions of boto3 in the service's expression language.

`Attr("tags").contains("test") & Attr("cost").gt(3)` becomes `contains(tags, :v0) AND cost > :v1`
and two parameters. boto3 is not imported: a condition is any object with `get_expression()`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Protocol, cast, runtime_checkable

_COMPARISONS = frozenset({"=", "<>", "<", "<=", ">", ">="})
_JUNCTIONS = frozenset({"AND", "OR"})
_FUNCTIONS = frozenset(
    {"begins_with", "contains", "attribute_type", "attribute_exists", "attribute_not_exists"}
)
# Keywords of the language, which need quotes as attribute names.
_RESERVED = _FUNCTIONS | {"and", "or", "not", "in", "between", "size", "true", "false", "null"}

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PATH = re.compile(r"[^.\[\]]+(\[[0-9]+\])*(\.[^.\[\]]+(\[[0-9]+\])*)*")
_PATH_NAME = re.compile(r"[^.\[\]]+(?![0-9]*\])")


@runtime_checkable
class Condition(Protocol):
    """A condition built with `boto3.dynamodb.conditions`."""

    def get_expression(self) -> Mapping[str, object]:
        """Return the operator and its operands."""
        ...


@runtime_checkable
class _Attribute(Protocol):
    """boto3's `Attr` or `Key`; their methods distinguish them from other values with a name."""

    name: str

    def between(self, low_value: object, high_value: object) -> object: ...
    def begins_with(self, value: object) -> object: ...


def render(condition: Condition) -> tuple[str, dict[str, object]]:
    """Return a condition as an expression, and the parameters that it uses.

    Raises:
        TypeError: A part is not a complete condition, such as `Attr("a").size()` without a
            comparison.
        ValueError: An operator is unknown, the list of `is_in` is empty, or a path is malformed.
    """
    rendering = _Rendering()
    return rendering.condition(condition), rendering.parameters


class _Rendering:
    """The state of one rendering: the parameters found so far."""

    def __init__(self) -> None:
        self.parameters: dict[str, object] = {}

    def condition(self, condition: object) -> str:
        operator, values = _parts(condition)
        if operator in _JUNCTIONS:
            # Chains of & are flattened: boto3 nests them without need, and nesting counts towards
            # the depth that the service allows.
            operands = _flattened(operator, condition)
            return f" {operator} ".join(self._grouped(one, _JUNCTIONS) for one in operands)
        if operator == "NOT":
            return f"NOT {self._grouped(values[0], _JUNCTIONS | {'NOT'})}"
        if operator in _COMPARISONS:
            left, right = values
            return f"{self._operand(left)} {operator} {self._operand(right)}"
        if operator == "BETWEEN":
            one, low, high = (self._operand(value) for value in values)
            return f"{one} BETWEEN {low} AND {high}"
        if operator == "IN":
            return f"{self._operand(values[0])} IN ({', '.join(self._members(values[1]))})"
        if operator in _FUNCTIONS:
            return f"{operator}({', '.join(self._operand(value) for value in values)})"
        if operator == "size":
            raise TypeError("size() is no condition: compare it with something")
        raise ValueError(f"unknown operator {operator!r}")

    def _grouped(self, condition: object, operators: frozenset[str]) -> str:
        text = self.condition(condition)
        return f"({text})" if _parts(condition)[0] in operators else text

    def _operand(self, value: object) -> str:
        if isinstance(value, Condition):
            operator, values = _parts(value)
            if operator != "size":
                raise TypeError(f"the condition {operator} is not a value")
            return f"size({self._operand(values[0])})"
        if isinstance(value, _Attribute):
            return _path(value.name)
        name = f"v{len(self.parameters)}"
        self.parameters[name] = value
        return f":{name}"

    def _members(self, values: object) -> list[str]:
        if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
            raise TypeError(f"is_in() takes a list of values, not {values!r}")
        members = [self._operand(value) for value in values]
        if not members:
            raise ValueError("is_in() needs at least one value")
        return members


def _parts(condition: object) -> tuple[str, tuple[object, ...]]:
    if not isinstance(condition, Condition):
        raise TypeError(f"not a condition: {condition!r}")
    expression = condition.get_expression()
    values = cast("tuple[object, ...]", expression["values"])
    return str(expression["operator"]), tuple(values)


def _flattened(operator: str, condition: object) -> list[object]:
    operands: list[object] = []
    pending = [condition]
    while pending:
        one = pending.pop()
        its_operator, values = _parts(one)
        if its_operator == operator:
            pending.extend(reversed(values))
        else:
            operands.append(one)
    return operands


def _path(path: str) -> str:
    """Quote the names of a document path that need quotes in the language."""
    if not _PATH.fullmatch(path):
        raise ValueError(f"not a document path: {path!r}")
    return _PATH_NAME.sub(lambda match: _name(match[0]), path)


def _name(name: str) -> str:
    if _PLAIN_NAME.fullmatch(name) and name.lower() not in _RESERVED:
        return name
    return '"' + name.replace('"', '""') + '"'
