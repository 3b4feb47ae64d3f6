"""The shape of a query: everything but the values of its parameters."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from dynamodb_processor.v1.query_pb2 import QuerySpec
from dynamodb_processor_server.errors import InvalidRequest
from dynamodb_processor_server.query.expression.values import Value
from dynamodb_processor_server.rpc.decode.query import parse_parameters


@dataclass(frozen=True, slots=True)
class ShapedQuery:
    """A query as its shape and the values of its parameters.

    Queries of equal shapes differ in these values alone, not even in their types. `size` is the
    number of bytes of the shape.
    """

    shape: Hashable
    values: Mapping[str, Value]
    size: int


def shaped(message: QuerySpec) -> ShapedQuery | None:
    """Return a query as its shape and values.

    Return None for a query without parameters, for one with an invalid value, and for one with a
    field that this server does not know, at any depth.
    """
    rest = QuerySpec()
    rest.CopyFrom(message)
    rest.DiscardUnknownFields()
    if not message.parameters or rest.ByteSize() != message.ByteSize():
        return None
    try:
        parameters = parse_parameters(message)
    except InvalidRequest:
        return None
    if parameters.errors:
        return None
    # All fields but one, so that no field can be forgotten.
    rest.ClearField("parameters")
    text = rest.SerializeToString(deterministic=True)
    values = parameters.values
    types = tuple(sorted([(name, value.type) for name, value in values.items()]))
    return ShapedQuery((text, types), values, len(text) + sum(len(name) for name, _ in types))
