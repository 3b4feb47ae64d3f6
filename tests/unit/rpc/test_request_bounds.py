"""Tests the bounds on requests, by counted steps of decoding and planning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from dynamodb_processor.v1.query_pb2 import QuerySpec
from dynamodb_processor.v1.query_service_pb2 import BatchGetItemsRequest, QueryRequest
from dynamodb_processor.v1.value_pb2 import AttributeValue, Item, ListValue, MapValue, NumberSet
from dynamodb_processor_server.errors import MAX_VIOLATIONS, InvalidRequest
from dynamodb_processor_server.query.expression.limits import MAX_TOKENS, MAX_VALUES
from dynamodb_processor_server.reader import CacheMode
from dynamodb_processor_server.rpc.decode.page_request import REQUEST_DECODERS, PageRequest, is_kept
from dynamodb_processor_server.rpc.decode.violations import Violations
from dynamodb_processor_server.rpc.method_handlers import service_handler
from dynamodb_processor_server.rpc.server import QUERY_SERVICE
from dynamodb_processor_server.rpc.services.batch_get import parse_batch
from tests.support.running import query_spec
from tests.support.work import counted_work
from tests.unit.query.tables import make_table
from tests.unit.rpc.preparing import Prepared

# Calls of functions: the largest expression that is accepted takes some 350,000 to parse and plan.
_MOST_WORK = 450_000
_WORK_OF_A_REFUSAL = 300_000
_NOTHING = AttributeValue(null=True)
_UNKNOWN = b"\xa0\x06\x01"  # field 100, a number


def _list(count: int) -> AttributeValue:
    return AttributeValue(l=ListValue(values=[_NOTHING] * count))


def _query(expression: str, **fields: object) -> QuerySpec:
    return query_spec("events", f"user_id = 'u' AND {expression}", **fields)


def _spec_with_unknown_fields(count: int) -> QuerySpec:
    return QuerySpec.FromString(_query("a = 1").SerializeToString() + _UNKNOWN * count)


REFUSED: dict[str, tuple[Callable[[], QuerySpec], str, str]] = {
    "400 deep paths of 2 KB": (
        lambda: _query("a = 1", projection=[f"a{n}" + ".b" * 1_000 for n in range(400)]),
        "query.projection",
        "at most 16384 bytes of paths in all",
    ),
    "a list of 240,000": (
        lambda: _query("a = :p", parameters={"p": _list(240_000)}),
        "query.parameters",
        f"at most {MAX_VALUES} values in all",
    ),
    "a list in a list": (
        lambda: _query(
            "a = :p",
            parameters={"p": AttributeValue(l=ListValue(values=[_list(600)] * 10))},
        ),
        "query.parameters",
        "values in all",
    ),
    "a map of 100,000": (
        lambda: _query(
            "a = :p",
            parameters={
                "p": AttributeValue(m=MapValue(fields={str(n): _NOTHING for n in range(100_000)}))
            },
        ),
        "query.parameters",
        "values in all",
    ),
    "a set of 100,000": (
        lambda: _query(
            "a = :p",
            parameters={"p": AttributeValue(ns=NumberSet(values=map(str, range(100_000))))},
        ),
        "query.parameters",
        "values in all",
    ),
    "100 lists of 1,000": (
        lambda: _query(
            " AND ".join(f"a = :p{n}" for n in range(100)),
            parameters={f"p{n}": _list(1_000) for n in range(100)},
        ),
        "query.parameters",
        "values in all",
    ),
    "1,000 values, used 500 times": (
        lambda: _query(" AND ".join(["a = :p"] * 500), parameters={"p": _list(1_000)}),
        "query.expression",
        "as often as the expression uses it",
    ),
    "300 KB, used 500 times": (
        lambda: _query(" AND ".join(["a = :p"] * 500), parameters={"p": "x" * 300_000}),
        "query.expression",
        "at most 2000000 bytes in all",
    ),
    "2,000 comparisons": (
        lambda: _query(" AND ".join(["a=1"] * 1_000)),
        "query.expression",
        f"at most {MAX_TOKENS} names, values, operators",
    ),
    "a number of 900,000 digits": (
        lambda: _query("a = :p", parameters={"p": AttributeValue(n="1" * 900_000)}),
        "query.parameters['p']",
        "is not a number: it has 900000 characters",
    ),
    "300,000 unknown fields": (
        lambda: _spec_with_unknown_fields(300_000),
        "query",
        "has 900000 bytes of fields which this server does not know",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_expensive_requests_are_refused_early(name: str) -> None:
    """A query of up to 1 MB is refused with a named reason, for any content."""
    make, field, words = REFUSED[name]
    spec, prepare = make(), Prepared()
    await prepare(query_spec("events", "user_id = 'u'"))
    with counted_work() as work, pytest.raises(InvalidRequest) as caught:
        await prepare(spec)
    (violation,) = caught.value.violations
    assert violation.field == field
    assert words in violation.description
    assert work.calls < _WORK_OF_A_REFUSAL


ACCEPTED: dict[str, Callable[[], QuerySpec]] = {
    "many conjuncts": lambda: _query(" AND ".join(f"a{n}=1" for n in range(600))),
    "many alternatives": lambda: _query(f"({' OR '.join(f'a{n}=1' for n in range(600))})"),
    "many partitions, many conjuncts": lambda: query_spec(
        "events",
        f"user_id IN ({','.join(map(repr, map(str, range(50))))})"
        f" AND {' AND '.join(f'a{n}=1' for n in range(500))}",
    ),
    "50 partitions, as many values as there may be": lambda: query_spec(
        "events",
        f"user_id IN ({','.join(map(repr, map(str, range(50))))}) AND a = :p",
        parameters={"p": _list(MAX_VALUES - 1)},
    ),
    "as many values as there may be": lambda: _query(
        "a = :p", parameters={"p": _list(MAX_VALUES - 1)}
    ),
    "as long paths as there may be": lambda: _query(
        "a = 1", projection=[f"a{n}" + ".b" * 15 for n in range(400)]
    ),
    "1 MB of text": lambda: _query("a = :p", parameters={"p": "x" * 1_000_000}),
}


@pytest.mark.parametrize("name", ACCEPTED)
async def test_accepted_queries_are_planned_in_bounded_work(name: str) -> None:
    """Planning grows with the length of a query, not with its square."""
    spec, prepare = ACCEPTED[name](), Prepared()
    await prepare(query_spec("events", "user_id = 'u'"))
    with counted_work() as work:
        await prepare(spec)
    assert work.calls < _MOST_WORK


def test_unknown_fields_of_a_budget_are_few_violations() -> None:
    """A bounded number of unknown fields is reported, and the rest are counted."""
    data = QueryRequest(query=_query("a = 1")).SerializeToString()
    for count, reported, words in ((3, 3, "has field 100"), (300_000, 1, "has 900000 bytes")):
        unknown = QueryRequest.FromString(data)
        unknown.budget.MergeFromString(_UNKNOWN * count)
        with counted_work() as work:
            request = REQUEST_DECODERS["Query"](unknown, data)
        assert isinstance(request, PageRequest)
        assert len(request.violations) == reported
        assert words in request.violations[0].description
        assert work.calls < 1_000


def test_violations_beyond_the_bound_are_counted() -> None:
    """The first ones are named, and the error has the number of the others."""
    violations = Violations()
    for number in range(10_000):
        violations.add(f"field-{number}", "is wrong")
    with pytest.raises(InvalidRequest) as caught:
        violations.raise_any()
    assert len(caught.value.violations) == MAX_VIOLATIONS
    assert caught.value.more == 10_000 - MAX_VIOLATIONS
    assert caught.value.message.endswith(f"; and {10_000 - MAX_VIOLATIONS} more")


class _Servicer:
    Query = StreamQuery = CountItems = BatchGetItems = ExplainQuery = None


@dataclass(frozen=True)
class _Details:
    method: str
    invocation_metadata: tuple[()] = ()


def _decoder(
    readers: Mapping[str, Callable[[Any, bytes], object]], **how: Any
) -> Callable[[bytes], Any]:
    """Return a function that decodes requests of `Query`."""
    handlers: Any = service_handler(QUERY_SERVICE, _Servicer, readers, is_kept, **how)
    decode = handlers.service(_Details(f"/{QUERY_SERVICE.full_name}/Query")).request_deserializer
    assert decode is not None
    return decode  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "keys",
    [
        [Item(attributes={str(n): _NOTHING for n in range(90_000)})],
        [Item(attributes={"tenant_id": _list(5_000), "event_id": _list(5_000)})] * 100,
        [Item(attributes={str(n): _NOTHING for n in range(64)})] * 100,
    ],
    ids=["many attributes", "large values", "many keys"],
)
def test_keys_are_refused_before_they_take_long(keys: list[Item]) -> None:
    """The keys of a batch have no more values together than a query may have."""
    request = BatchGetItemsRequest(table="audit-events", keys=keys)
    with counted_work() as work, pytest.raises(InvalidRequest):
        parse_batch(request, make_table(), None, CacheMode.DEFAULT, Violations())
    assert work.calls < _WORK_OF_A_REFUSAL


def test_valid_requests_are_cached_within_bytes() -> None:
    """Equal requests are decoded once; an invalid request is not cached."""
    reads: list[QueryRequest] = []

    def read(request: QueryRequest, data: bytes) -> object:
        reads.append(request)
        return REQUEST_DECODERS["Query"](request, data)

    decode = _decoder({"Query": read})
    data = [
        QueryRequest(query=_query(f"a = 'id-{n:04}'")).SerializeToString() for n in range(20_000)
    ]
    assert decode(data[0]) is decode(data[0])
    assert len(reads) == 1
    for each in data:
        decode(each)
    reads.clear()
    decode(data[-1])
    assert not reads  # one of the last is still there
    decode(data[0])
    assert len(reads) == 1  # the first is not
    reads.clear()
    invalid = QueryRequest(query=_query("a = 1"), page_size=-1).SerializeToString()
    decode(invalid)
    decode(invalid)
    assert len(reads) == 2


@pytest.mark.parametrize("size", [4_096, 4_097])
def test_a_request_of_names_is_refused_by_its_size(size: int) -> None:
    """A request with more bytes than its method needs is refused before it is decoded."""
    decode = _decoder({}, max_bytes=4_096)
    data = QueryRequest(page_token="x" * (size - 3)).SerializeToString()
    assert len(data) == size
    if size > 4_096:
        with pytest.raises(InvalidRequest, match="at most 4096 bytes, not 4097"):
            decode(data)
    else:
        decode(data)
