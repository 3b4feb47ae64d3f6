"""Evaluates conditions on items as DynamoDB does, for conditions that DynamoDB does not evaluate.

A missing attribute is not null: every comparison with it is false, except `<>`, which is true.
A comparison of different types is false and not an error.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from dynamodb_processor_server.catalog.logical_view import has_expired
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
from dynamodb_processor_server.query.expression.values import (
    ORDERED_TYPES,
    Value,
    WireItem,
    WireValue,
    from_wire,
    to_wire,
)

_COLLECTIONS: Final = frozenset({"L", "M", "SS", "NS", "BS"})
_SIZED: Final = _COLLECTIONS | {"S", "B"}
_ORDERINGS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

# Decoded lists, maps and sets of an item, by the identity of their wire values. A condition may
# name one hundreds of times, and the time to decode it grows with the number of its elements.
_Decoded: TypeAlias = dict[int, tuple[WireValue, Value]]


def evaluate(condition: Condition, item: WireItem) -> bool:
    """Return whether an item, in wire form, meets a condition."""
    return _evaluate(condition, item, {})


def _evaluate(condition: Condition, item: WireItem, decoded: _Decoded) -> bool:
    match condition:
        case And(terms):
            return all(_evaluate(term, item, decoded) for term in terms)
        case Or(terms):
            return any(_evaluate(term, item, decoded) for term in terms)
        case Not(term):
            return not _evaluate(term, item, decoded)
        case Comparison(symbol, left, right):
            return _compare(symbol, _resolve(left, item, decoded), _resolve(right, item, decoded))
        case Between(operand, low, high):
            value = _resolve(operand, item, decoded)
            return _compare(">=", value, _resolve(low, item, decoded)) and _compare(
                "<=", value, _resolve(high, item, decoded)
            )
        case In(operand, options):
            value = _resolve(operand, item, decoded)
            return any(_compare("=", value, _resolve(option, item, decoded)) for option in options)
        case Function():
            return _call(condition, item, decoded)
        case NotExpired():
            return not has_expired(item)


def find(path: Path, item: WireItem) -> WireValue | None:
    """Return the wire value at a document path, or None if the item has none."""
    value: WireValue | None = item.get(path.attribute)
    for part in path.parts[1:]:
        if value is None:
            return None
        if isinstance(part, str):
            value = value["M"].get(part) if "M" in value else None
        else:
            elements = value.get("L", ())
            value = elements[part] if part < len(elements) else None
    return value


def _resolve(operand: Operand, item: WireItem, decoded: _Decoded) -> Value | None:
    if isinstance(operand, Literal):
        return operand.value
    if isinstance(operand, Size):
        subject = operand.path
        return _size(find(subject, item) if isinstance(subject, Path) else to_wire(subject.value))
    wire = find(operand, item)
    return None if wire is None else _decode_once(wire, decoded)


def _decode_once(wire: WireValue, decoded: _Decoded) -> Value:
    if wire.keys().isdisjoint(_COLLECTIONS):
        return _decode(wire)
    known = decoded.get(id(wire))
    if known is None:
        # The wire value is kept as well, so that no other object gets its identity.
        known = decoded[id(wire)] = (wire, _decode(wire))
    return known[1]


def _decode(wire: WireValue) -> Value:
    """Return a value of an item; a value that DynamoDB does not allow equals nothing.

    Other servers with DynamoDB's interface store such values, for example numbers of any size. An
    item with one is still returned, and does not keep other items from being found.
    """
    try:
        return from_wire(wire)
    except ValueError:
        return Value("", object())


def _size(wire: WireValue | None) -> Value | None:
    if wire is None:
        return None
    ((tag, data),) = wire.items()
    if tag not in _SIZED:
        return None
    # DynamoDB counts the UTF-16 code units of a string.
    return Value(
        "N", len(data.encode("utf-16-le", "surrogatepass")) // 2 if tag == "S" else len(data)
    )


def _compare(symbol: str, left: Value | None, right: Value | None) -> bool:
    if symbol == "<>":
        return not _compare("=", left, right)
    if left is None or right is None or left.type != right.type:
        return False
    if symbol == "=":
        return bool(left.data == right.data)
    return left.type in ORDERED_TYPES and bool(_ORDERINGS[symbol](left.order, right.order))


def _call(function: Function, item: WireItem, decoded: _Decoded) -> bool:
    if function.argument is None or function.name == "attribute_type":
        assert isinstance(function.path, Path), "the parser accepts no other first operand"
        wire = find(function.path, item)
        if function.argument is None:
            return (wire is None) is (function.name == "attribute_not_exists")
        assert isinstance(function.argument, Literal), "checked by validation.py"
        return wire is not None and function.argument.value.data in wire
    value, argument = (
        _resolve(function.path, item, decoded),
        _resolve(function.argument, item, decoded),
    )
    if value is None or argument is None:
        return False
    if function.name == "begins_with":
        return _begins_with(value, argument)
    return _contains(value, argument)


def _begins_with(value: Value, prefix: Value) -> bool:
    if value.type != prefix.type or value.type not in ("S", "B"):
        return False
    return bool(value.data.startswith(prefix.data))


def _contains(value: Value, wanted: Value) -> bool:
    if value.type in ("S", "B"):
        return value.type == wanted.type and bool(wanted.data in value.data)
    if value.type in ("SS", "NS", "BS"):
        return wanted.type == value.type[0] and wanted.data in value.data
    return value.type == "L" and wanted in value.data
