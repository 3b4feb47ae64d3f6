"""Tests of requests that violate the contract, for every rule of its comments."""

from __future__ import annotations

import pytest

from dynamodb_processor.v1.query_pb2 import QuerySpec
from dynamodb_processor.v1.query_service_pb2 import QueryRequest, StreamQueryRequest
from dynamodb_processor.v1.value_pb2 import (
    AttributeValue,
    BinarySet,
    ListValue,
    MapValue,
    NumberSet,
    StringSet,
)
from tests.rpc.data import ULRIKE, VIKTOR
from tests.rpc.violating import good, refusal, unknown
from tests.support.running import Service, query_spec

pytestmark = pytest.mark.asyncio(loop_scope="module")

_U = {"u": VIKTOR}


def with_value(value: AttributeValue) -> QuerySpec:
    """Return a query with a value as one of its parameters."""
    return query_spec("events", "user_id = :u AND note = :v", parameters=_U | {"v": value})


def nested(levels: int) -> AttributeValue:
    """Return lists in lists, nested to a number of levels."""
    value = AttributeValue(s="x")
    for _ in range(levels - 1):
        value = AttributeValue(l=ListValue(values=[value]))
    return value


# Each row: the request's wrong part, the field's path, and words of the description.
SPECS: dict[str, tuple[QuerySpec, str, str]] = {
    "no table": (query_spec("", "a = 1"), "query.table", "is required"),
    "no query": (QuerySpec(), "query.table", "is required"),
    "unknown order": (good(order=77), "query.order", "77 is not a value"),
    "negative order": (good(order=-1), "query.order", "-1 is not a value"),
    "unknown consistency": (good(consistency=3), "query.consistency", "3 is not a value"),
    "no items": (good(max_items=0), "query.max_items", "more than 0"),
    "negative items": (good(max_items=-5), "query.max_items", "more than 0"),
    "unknown field": (unknown(good()), "query", "has field 1007"),
    "bad projection": (good(projection=["at", "a..b"]), "query.projection[1]", "column"),
    "empty projection": (good(projection=[""]), "query.projection[0]", "expected a name"),
    "overlap": (good(projection=["address", "address.city"]), "query.projection", "overlaps"),
    "wide projection": (good(projection=["a"] * 501), "query.projection", "at most 500"),
    "syntax": (query_spec("events", "user_id = "), "query.expression", "expected a"),
    "long expression": (
        query_spec("events", f"user_id = '{'x' * 9_000}'"), "query.expression", "at most 8192 bytes"
    ),
    "deep expression": (
        query_spec("events", "(" * 40 + "user_id = 'x'" + ")" * 40), "query.expression", "32 levels"
    ),
    "missing parameter": (
        query_spec("events", "user_id = :other"), "query.expression", ":other is not given"
    ),
    "unused parameter": (
        query_spec("events", "user_id = 'x'", parameters=_U), "query.expression", "not used"
    ),
    "parameter without expression": (
        query_spec("scannable", "  ", parameters=_U), "query.parameters['u']", "not used"
    ),
    "parameter with a colon": (
        query_spec("events", "user_id = :u", parameters={":u": "x"}), "query.parameters[':u']",
        "without the colon",
    ),
    "long parameter name": (
        query_spec("events", "user_id = :u", parameters={"p" * 300: "x"}),
        f"query.parameters['{'p' * 60}']", "letters, digits",
    ),
    "many parameters": (
        query_spec("events", "user_id = :u", parameters={f"p{n}": n for n in range(1_001)}),
        "query.parameters", "at most 1000",
    ),
    "unset value": (with_value(AttributeValue()), "query.parameters['v']", "no value is set"),
    "unset value in a list": (
        with_value(AttributeValue(l=ListValue(values=[AttributeValue()]))),
        "query.parameters['v']", "no value is set",
    ),
    "unset value in a map": (
        with_value(AttributeValue(m=MapValue(fields={"k": AttributeValue()}))),
        "query.parameters['v']", "no value is set",
    ),
    "null that is false": (
        with_value(AttributeValue(null=False)), "query.parameters['v']", "null can only be true"
    ),
    "empty string set": (
        with_value(AttributeValue(ss=StringSet())), "query.parameters['v']", "at least one"
    ),
    "empty number set": (
        with_value(AttributeValue(ns=NumberSet())), "query.parameters['v']", "at least one"
    ),
    "empty binary set": (
        with_value(AttributeValue(bs=BinarySet())), "query.parameters['v']", "at least one"
    ),
    "string twice": (
        with_value(AttributeValue(ss=StringSet(values=["a", "a"]))), "query.parameters['v']",
        "no member twice",
    ),
    "number twice": (
        with_value(AttributeValue(ns=NumberSet(values=["1", "1.0"]))), "query.parameters['v']",
        "no member twice",
    ),
    "no number": (with_value(AttributeValue(n="1e")), "query.parameters['v']", "not a number"),
    "not finite": (with_value(AttributeValue(n="NaN")), "query.parameters['v']", "not a finite"),
    "39 digits": (
        with_value(AttributeValue(n="1" * 39)), "query.parameters['v']", "38 significant digits"
    ),
    "empty name in a map": (
        with_value(AttributeValue(m=MapValue(fields={"": AttributeValue(s="x")}))),
        "query.parameters['v']", "a name in a map has 1 to 65535 bytes",
    ),
    "long name in a map": (
        with_value(AttributeValue(m=MapValue(fields={"\u00e9" * 32_768: AttributeValue(s="x")}))),
        "query.parameters['v']", "a name in a map has 1 to 65535 bytes",
    ),
    "33 levels": (with_value(nested(33)), "query.parameters['v']", "at most 32 levels deep"),
    "wrong key type": (
        query_spec("events", "user_id = 5"), "query.expression", "user_id is a string"
    ),
    "unknown index": (good(index="by_magic"), "query.index", "no index 'by_magic'"),
    "consistent read of a global index": (
        query_spec(
            "events", "system_id = 'crm'", index="by_system", consistency="CONSISTENCY_STRONG"
        ),
        "query.consistency", "not possible on global index by_system",
    ),
    "attribute that is not visible": (
        query_spec("narrow", "user_id = :u AND note = 'x'", parameters=_U), "query.expression",
        "narrow has no note",
    ),
    "projection that is not visible": (
        query_spec("narrow", "user_id = :u", parameters=_U, projection=["at", "note"]),
        "query.projection[1]", "narrow has no note",
    ),
    "scan in an order": (
        query_spec("scannable", order="ORDER_DESCENDING"), "query.order", "no order"
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("kind", [QueryRequest, StreamQueryRequest], ids=["Query", "StreamQuery"])
async def test_a_bad_query_is_refused_with_its_field(
    service: Service,
    row: tuple[QuerySpec, str, str],
    kind: type[QueryRequest | StreamQueryRequest],
) -> None:
    """The violation has the field's path and the reason."""
    spec, field, words = row
    found = await refusal(service, kind(query=spec))
    assert found.fields == [field]
    assert words in found.descriptions[field]


def unknown_at(where: str) -> QuerySpec:
    """Return a query with an unknown field below a parameter's value."""
    inner = unknown(AttributeValue(s="x"))
    match where:
        case "value":
            return with_value(inner)
        case "list":
            return with_value(AttributeValue(l=ListValue(values=[inner])))
        case "map":
            return with_value(AttributeValue(m=MapValue(fields={"k": inner})))
        case "set":
            return with_value(AttributeValue(ss=unknown(StringSet(values=["x"]))))
        case _:
            deep = AttributeValue(m=MapValue(fields={"k": inner}))
            return with_value(AttributeValue(l=ListValue(values=[deep])))


@pytest.mark.parametrize(
    ("where", "path"),
    [
        ("value", "query.parameters['v']"),
        ("list", "query.parameters['v'].l.values"),
        ("map", "query.parameters['v'].m.fields['k']"),
        ("set", "query.parameters['v'].ss"),
        ("list in map", "query.parameters['v'].l.values.m.fields['k']"),
    ],
)
async def test_unknown_fields_are_found_at_any_depth(
    service: Service, where: str, path: str
) -> None:
    """An older server must never ignore a restriction, at any place."""
    found = await refusal(service, QueryRequest(query=unknown_at(where)))
    assert found.fields == [path]
    assert "has field 1007, which this server does not know" in found.message


async def test_a_kind_of_value_of_a_newer_contract_is_refused(service: Service) -> None:
    """To this server it is an unknown field, and no value."""
    found = await refusal(service, QueryRequest(query=with_value(unknown(AttributeValue()))))
    assert found.fields == ["query.parameters['v']"] * 2
    assert "has field 1007" in found.message
    assert "no value is set" in found.message


@pytest.mark.parametrize(
    "value",
    [
        AttributeValue(s=""),
        AttributeValue(n="1E-130"),
        AttributeValue(b=b"\x00"),
        AttributeValue(bool=False),
        AttributeValue(null=True),
        AttributeValue(ss=StringSet(values=["a", ""])),
        AttributeValue(ns=NumberSet(values=["1", "-1"])),
        AttributeValue(bs=BinarySet(values=[b"", b"x"])),
        AttributeValue(l=ListValue()),
        AttributeValue(m=MapValue()),
        nested(32),
    ],
    ids=lambda value: str(value.WhichOneof("value")),
)
async def test_every_kind_of_value_is_a_parameter(service: Service, value: AttributeValue) -> None:
    """Empty and deep values are accepted where DynamoDB has them."""
    page = await service.query(with_value(value))
    assert page.stats.items_returned == 0


async def test_violations_contain_no_values(service: Service) -> None:
    """An error quotes the caller's names, shortened, and no stored value."""
    name = "n" * 100_000
    spec = with_value(AttributeValue(m=MapValue(fields={name: unknown(AttributeValue(s=ULRIKE))})))
    found = await refusal(service, QueryRequest(query=spec))
    assert ULRIKE not in repr(found)
    assert len(found.fields[0]) < 200
