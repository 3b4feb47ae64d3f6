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


def asking_with(value: AttributeValue, expression: str = EQUALITY + " AND x = :v") -> QueryRequest:
    """Return a request whose condition has a value as its parameter `:v`."""
    return QueryRequest(query=query_spec(expression, parameters={"v": value}))


def asking(expression: str = EQUALITY, /, **fields: Any) -> QueryRequest:
    """Return a request for the first page of such a query."""
    return QueryRequest(query=query_spec(expression, **fields))


def _nested(levels: int) -> str:
    return EQUALITY + " AND " + "NOT (" * levels + "a = 1" + ")" * levels


# The violation, the request, and the field that the error must name.
INVALID: Final[dict[str, tuple[QueryRequest, str]]] = {
    "no query": (QueryRequest(), "query.table"),
    "no table": (asking(table=""), "query.table"),
    "unknown order": (asking(order=99), "query.order"),
    "unknown consistency": (asking(consistency=-1), "query.consistency"),
    "unknown cache mode": (
        QueryRequest(query=query_spec(), cache=CachePolicy(mode=5)),  # type: ignore[arg-type]
        "cache.mode",
    ),
    "negative page size": (QueryRequest(query=query_spec(), page_size=-1), "page_size"),
    "max_items of 0": (asking(max_items=0), "query.max_items"),
    "negative max_items": (asking(max_items=-5), "query.max_items"),
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
    "expression over 8 KiB": (asking(f"{EQUALITY} AND a = '{'x' * 8192}'"), "query.expression"),
    "8 KiB counted in UTF-8": (asking(f"{EQUALITY} AND a = '{'é' * 4096}'"), "query.expression"),
    "expression too deep": (asking(_nested(33)), "query.expression"),
    "expression far too deep": (asking("(" * 4000 + "a = 1" + ")" * 4000), "query.expression"),
    "broken expression": (asking("user_id = "), "query.expression"),
    "expression that is no condition": (asking("user_id"), "query.expression"),
    "unknown function": (asking(EQUALITY + " AND upper(a) = 'A'"), "query.expression"),
    "unknown character": (asking("user_id = 'u' ; DROP"), "query.expression"),
    "unclosed string": (asking("user_id = 'u"), "query.expression"),
    "order of Booleans": (asking(EQUALITY + " AND a < true"), "query.expression"),
    "number as a prefix": (asking(EQUALITY + " AND begins_with(a, 5)"), "query.expression"),
    "operand compared with itself": (asking(EQUALITY + " AND a = a"), "query.expression"),
    "number as a string key": (asking("user_id = 5"), "query.expression"),
    "string as a number key": (asking(EQUALITY + " AND seq > '5'"), "query.expression"),
    "number of 39 digits": (asking(EQUALITY + " AND a = " + "1" * 39), "query.expression"),
    "parameter that is missing": (asking("user_id = :u"), "query.expression"),
    "parameter too many": (asking_with(AttributeValue(s="x"), EQUALITY), "query.expression"),
    "parameter without a value": (asking_with(AttributeValue()), "query.parameters['v']"),
    "null that is false": (asking_with(AttributeValue(null=False)), "query.parameters['v']"),
    "empty set": (asking_with(AttributeValue(ss=StringSet())), "query.parameters['v']"),
    "set with a member twice": (
        asking_with(AttributeValue(ns=NumberSet(values=["1", "1.0"]))),
        "query.parameters['v']",
    ),
    "number that is none": (asking_with(AttributeValue(n="1e")), "query.parameters['v']"),
    "number out of range": (asking_with(AttributeValue(n="1E126")), "query.parameters['v']"),
    "not a number": (asking_with(AttributeValue(n="NaN")), "query.parameters['v']"),
    "parameter's name": (
        asking(parameters={"a b": AttributeValue(s="x")}),
        "query.parameters['a b']",
    ),
    "overlapping projection": (asking(projection=["a", "a.b"]), "query.projection"),
    "broken projection": (asking(projection=["seq", "a["]), "query.projection[1]"),
    "projection into a key": (asking(projection=["user_id.a"]), "query.projection[0]"),
    "unknown index": (asking(index="by_moon"), "query.index"),
    "consistent read of a global index": (
        asking("system_id = 's-1'", index="by_system", consistency=Consistency.CONSISTENCY_STRONG),
        "query.consistency",
    ),
    "hidden attribute in the expression": (
        asking(EQUALITY + " AND tags = 'a'", table="listed"),
        "query.expression",
    ),
    "hidden attribute in the projection": (
        asking(table="listed", projection=["seq", "tags"]),
        "query.projection[1]",
    ),
    "token that is none": (QueryRequest(query=query_spec(), page_token="x"), "page_token"),
    "token over 64 KiB": (QueryRequest(query=query_spec(), page_token="A" * 65_537), "page_token"),
}  # fmt: skip
