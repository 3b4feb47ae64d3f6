"""DynamoDB's wire values as the contract's messages, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dynamodb_processor.v1.query_pb2 import Consistency, Order, QuerySpec
from dynamodb_processor.v1.value_pb2 import AttributeValue, Item
from tests.support.conditions import Condition, Path, Wire, WireItem, service_path, service_text


def to_value(wire: Wire) -> AttributeValue:
    """Return the contract's message of a wire value."""
    ((kind, data),) = wire.items()
    value = AttributeValue()
    match kind:
        case "L":
            value.l.SetInParent()
            value.l.values.extend(to_value(element) for element in data)
        case "M":
            value.m.SetInParent()
            for name, element in data.items():
                value.m.fields[name].CopyFrom(to_value(element))
        case "SS" | "NS" | "BS":
            getattr(value, kind.lower()).values.extend(data)
        case _:
            setattr(value, kind.lower(), data)
    return value


def from_value(value: AttributeValue) -> Wire:
    """Return the wire value of a message."""
    kind = value.WhichOneof("value")
    if kind is None:
        raise ValueError("a value without a type")
    data: Any = getattr(value, kind)
    match kind:
        case "l":
            return {"L": [from_value(element) for element in data.values]}
        case "m":
            return {"M": {name: from_value(element) for name, element in data.fields.items()}}
        case "ss" | "ns" | "bs":
            return {kind.upper(): list(data.values)}
    return {kind.upper(): data}


def from_item(item: Item) -> WireItem:
    """Return the wire item of a message."""
    return {name: from_value(value) for name, value in item.attributes.items()}


def spec(
    table: str,
    condition: Condition | str = "",
    parameters: Mapping[str, Wire] | None = None,
    *,
    index: str = "",
    descending: bool = False,
    projection: Sequence[Path | str] = (),
    strong: bool = False,
    max_items: int | None = None,
) -> QuerySpec:
    """Return a query; its condition as text with parameters, or as the tests' own model."""
    if isinstance(condition, str):
        expression, values = condition, dict(parameters or {})
    else:
        expression, values = service_text(condition)
    return QuerySpec(
        table=table,
        expression=expression,
        parameters={name: to_value(value) for name, value in values.items()},
        index=index,
        order=Order.ORDER_DESCENDING if descending else Order.ORDER_UNSPECIFIED,
        projection=[p if isinstance(p, str) else service_path(p) for p in projection],
        consistency=(
            Consistency.CONSISTENCY_STRONG if strong else Consistency.CONSISTENCY_UNSPECIFIED
        ),
        max_items=max_items,
    )
