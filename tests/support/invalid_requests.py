"""Requests with one violation each, and the field that the error must name."""

from __future__ import annotations

import math
from typing import Any, Final

from google.protobuf.duration_pb2 import Duration

from dynamodb_processor.v1.query_pb2 import Budget, CachePolicy, Consistency, QuerySpec
from dynamodb_processor.v1.query_service_pb2 import QueryRequest
from dynamodb_processor.v1.value_pb2 import AttributeValue, NumberSet, StringSet

EQUALITY: Final = "user_id = 'u-1'"


def query_spec(expression: str = EQUALITY, /, *, table: str = "events", **fields: Any) -> QuerySpec:
    """Return a query of one user's events, or of the given expression."""
    return QuerySpec(table=table, expression=expression, **fields)


def request_with(value: AttributeValue, expression: str = EQUALITY + " AND x = :v") -> QueryRequest:
    """Return a request whose condition has a value as its parameter `:v`."""
    return QueryRequest(query=query_spec(expression, parameters={"v": value}))


def request_for(expression: str = EQUALITY, /, **fields: Any) -> QueryRequest:
    """Return a request for the first page of such a query."""
    return QueryRequest(query=query_spec(expression, **fields))


def _nested(levels: int) -> str:
    return EQUALITY + " AND " + "NOT (" * levels + "a = 1" + ")" * levels


# The violation, the request, and the field that the error must name.
INVALID: Final[dict[str, tuple[QueryRequest, str]]] = {
    "no query": (QueryRequest(), "query.table"),
    "no table": (request_for(table=""), "query.table"),
    "unknown order": (request_for(order=99), "query.order"),
    "unknown consistency": (request_for(consistency=-1), "query.consistency"),
    "unknown cache mode": (
        QueryRequest(query=query_spec(), cache=CachePolicy(mode=5)),  # type: ignore[arg-type]
        "cache.mode",
    ),
    "negative page size": (QueryRequest(query=query_spec(), page_size=-1), "page_size"),
    "max_items of 0": (request_for(max_items=0), "query.max_items"),
    "negative max_items": (request_for(max_items=-5), "query.max_items"),
    "scan budget of 0": (
        QueryRequest(query=query_spec(), budget=Budget(max_scanned_items=0)),
        "budget.max_scanned_items",
    ),
    "read unit budget that is no number": (
        QueryRequest(query=query_spec(), budget=Budget(max_read_units=math.nan)),
        "budget.max_read_units",
    ),
    "endless read unit budget": (
        QueryRequest(query=query_spec(), budget=Budget(max_read_units=math.inf)),
        "budget.max_read_units",
    ),
    "negative duration": (
        QueryRequest(query=query_spec(), budget=Budget(max_duration=Duration(seconds=-1))),
        "budget.max_duration",
    ),
    "duration against the rules": (
        QueryRequest(query=query_spec(), budget=Budget(max_duration=Duration(seconds=1, nanos=-1))),
        "budget.max_duration",
    ),
    "negative staleness": (
        QueryRequest(query=query_spec(), cache=CachePolicy(max_staleness=Duration(nanos=-1))),
        "cache.max_staleness",
    ),
    "expression over 8 KiB": (
        request_for(f"{EQUALITY} AND a = '{'x' * 8192}'"),
        "query.expression",
    ),
    "8 KiB counted in UTF-8": (
        request_for(f"{EQUALITY} AND a = '{'é' * 4096}'"),
        "query.expression",
    ),
    "expression too deep": (request_for(_nested(33)), "query.expression"),
    "expression far too deep": (request_for("(" * 4000 + "a = 1" + ")" * 4000), "query.expression"),
    "broken expression": (request_for("user_id = "), "query.expression"),
    "expression that is no condition": (request_for("user_id"), "query.expression"),
    "unknown function": (request_for(EQUALITY + " AND upper(a) = 'A'"), "query.expression"),
    "unknown character": (request_for("user_id = 'u' ; DROP"), "query.expression"),
    "unclosed string": (request_for("user_id = 'u"), "query.expression"),
    "order of Booleans": (request_for(EQUALITY + " AND a < true"), "query.expression"),
    "number as a prefix": (request_for(EQUALITY + " AND begins_with(a, 5)"), "query.expression"),
    "operand compared with itself": (request_for(EQUALITY + " AND a = a"), "query.expression"),
    "number as a string key": (request_for("user_id = 5"), "query.expression"),
    "string as a number key": (request_for(EQUALITY + " AND seq > '5'"), "query.expression"),
    "number of 39 digits": (request_for(EQUALITY + " AND a = " + "1" * 39), "query.expression"),
    "parameter that is missing": (request_for("user_id = :u"), "query.expression"),
    "parameter too many": (request_with(AttributeValue(s="x"), EQUALITY), "query.expression"),
    "parameter without a value": (request_with(AttributeValue()), "query.parameters['v']"),
    "null that is false": (request_with(AttributeValue(null=False)), "query.parameters['v']"),
    "empty set": (request_with(AttributeValue(ss=StringSet())), "query.parameters['v']"),
    "set with a member twice": (
        request_with(AttributeValue(ns=NumberSet(values=["1", "1.0"]))),
        "query.parameters['v']",
    ),
    "number that is none": (request_with(AttributeValue(n="1e")), "query.parameters['v']"),
    "number out of range": (request_with(AttributeValue(n="1E126")), "query.parameters['v']"),
    "not a number": (request_with(AttributeValue(n="NaN")), "query.parameters['v']"),
    "parameter's name": (
        request_for(parameters={"a b": AttributeValue(s="x")}),
        "query.parameters['a b']",
    ),
    "overlapping projection": (request_for(projection=["a", "a.b"]), "query.projection"),
    "broken projection": (request_for(projection=["seq", "a["]), "query.projection[1]"),
    "projection into a key": (request_for(projection=["user_id.a"]), "query.projection[0]"),
    "unknown index": (request_for(index="by_moon"), "query.index"),
    "consistent read of a global index": (
        request_for(
            "system_id = 's-1'", index="by_system", consistency=Consistency.CONSISTENCY_STRONG
        ),
        "query.consistency",
    ),
    "hidden attribute in the expression": (
        request_for(EQUALITY + " AND tags = 'a'", table="listed"),
        "query.expression",
    ),
    "hidden attribute in the projection": (
        request_for(table="listed", projection=["seq", "tags"]),
        "query.projection[1]",
    ),
    "token that is none": (QueryRequest(query=query_spec(), page_token="x"), "page_token"),
    "token over 64 KiB": (QueryRequest(query=query_spec(), page_token="A" * 65_537), "page_token"),
}  # fmt: skip
