"""Foreign clients see every kind of answer as the server sent it, field by field."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from google.protobuf.message_factory import GetMessageClass

from dynamodb_processor.v1 import cache_service_pb2, catalog_service_pb2, query_service_pb2
from dynamodb_processor.v1.cache_service_pb2 import (
    GetCacheStatsRequest,
    InvalidateCacheRequest,
    WholeTable,
)
from dynamodb_processor.v1.catalog_service_pb2 import GetTableRequest, ListTablesRequest
from dynamodb_processor.v1.query_pb2 import (
    CACHE_MODE_BYPASS,
    CACHE_MODE_ONLY_IF_CACHED,
    CACHE_MODE_REFRESH,
    TOTAL_MODE_BOUNDED,
    TOTAL_MODE_EXACT,
    Budget,
    CacheMode,
    CachePolicy,
    CacheStatus,
    QuerySpec,
    TotalOptions,
)
from dynamodb_processor.v1.query_service_pb2 import (
    BatchGetItemsRequest,
    CountItemsRequest,
    ExplainQueryRequest,
    QueryRequest,
    StreamQueryRequest,
)
from dynamodb_processor.v1.value_pb2 import AttributeValue, Item
from tests.interop.conftest import NAMES, Servers, user_of
from tests.interop.drivers import Call, Client, Outcome, unpacked
from tests.interop.workshop import Workshop
from tests.support.running import eventually, query_spec
from tests.support.scraping import metric

_METHODS: Final = {
    f"{method.name}Request": method
    for module in (query_service_pb2, catalog_service_pb2, cache_service_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
_Request = Any
_Before = Callable[[Servers, _Request], Awaitable[None]]


def _of(user: str, table: str = "events", **fields: Any) -> QuerySpec:
    return query_spec(table, "user_id = :u", parameters={"u": user}, **fields)


def _policy(mode: CacheMode.ValueType) -> CachePolicy:
    return CachePolicy(mode=mode)


def _key(user: str, seq: int) -> Item:
    values = {"user_id": AttributeValue(s=user), "seq": AttributeValue(n=str(seq))}
    return Item(attributes=values)


async def _nothing(servers: Servers, request: _Request) -> None:
    """Leave the server as it is."""


async def _read(servers: Servers, request: _Request) -> None:
    """Make the call once, so that its answer is cached."""
    await _ask(servers, request)


async def _read_until_stale(servers: Servers, request: QueryRequest) -> None:
    """Make the call, and wait until the cached answer has expired.

    An answer that took longer than its time to live is not cached.
    """
    expires_in = 0
    while not expires_in:
        page = await _ask(servers, request)
        expires_in = page.cache.expires_in.ToNanoseconds()
    await asyncio.sleep(expires_in / 1e9 + 0.05)


async def _read_elsewhere(servers: Servers, request: QueryRequest) -> None:
    """Let the other server read a page, and wait until it is in Redis and this one may use it."""

    async def stored() -> float:
        labels = {"operation": "store", "outcome": "done"}
        return await metric(servers.other, "shared_cache_operations_total", **labels)

    before = await stored()
    await servers.other.queries.Query(request, metadata=servers.other.metadata("admin"))

    async def is_shared() -> bool:
        return await stored() > before and await metric(servers.service, "shared_cache_fresh") == 1

    await eventually(is_shared)


async def _begin_a_read(servers: Servers, request: QueryRequest) -> None:
    """Begin the same read, which ends when a second call waits for it."""
    reads = servers.stub.reads
    servers.stub.gate.clear()
    first = asyncio.ensure_future(_ask(servers, request))
    await eventually(lambda: servers.stub.reads > reads)

    async def both_wait() -> bool:
        return await servers.active() == 2

    async def let_go() -> None:
        try:
            await eventually(both_wait)
        finally:
            servers.stub.gate.set()
        await first

    _running.append(asyncio.create_task(let_go()))


_running: list[asyncio.Task[None]] = []


async def _ask(servers: Servers, request: _Request) -> Any:
    method = _METHODS[type(request).__name__]
    path = f"/{method.containing_service.full_name}/{method.name}"
    response = GetMessageClass(method.output_type)
    call: Any = servers.service.channel.unary_unary(
        path, type(request).SerializeToString, response.FromString
    )
    return await call(request, metadata=servers.service.metadata("admin"))


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of answer: the request for a user, the earlier events, and its status."""

    name: str
    request: Callable[[str], _Request]
    before: _Before = _nothing
    cache: str = ""
    key: str | None = "admin"
    code: int = 0
    own_user: int = field(default=0)


def _query(user: str, mode: CacheMode.ValueType = 0, **more: Any) -> QueryRequest:  # type: ignore[assignment]  # unspecified
    return QueryRequest(query=_of(user), page_size=3, cache=_policy(mode), **more)


CASES: Final = (
    Case("page, MISS", _query, cache="MISS"),
    Case("page, HIT", _query, _read, cache="HIT"),
    Case("page, BYPASSED", lambda u: _query(u, CACHE_MODE_BYPASS), cache="BYPASSED"),
    Case("page, REFRESH", lambda u: _query(u, CACHE_MODE_REFRESH), _read, cache="MISS"),
    Case(
        "page, ONLY_IF_CACHED", lambda u: _query(u, CACHE_MODE_ONLY_IF_CACHED), _read, cache="HIT"
    ),
    Case(
        "page, STALE",
        lambda u: QueryRequest(query=_of(u, "stale"), page_size=2),
        _read_until_stale,
        cache="STALE",
        own_user=1,
    ),
    Case("page, SHARED_HIT", _query, _read_elsewhere, cache="SHARED_HIT", own_user=2),
    Case("page, COALESCED", _query, _begin_a_read, cache="COALESCED", own_user=3),
    Case(
        "page with a total",
        lambda u: _query(u, total=TotalOptions(mode=TOTAL_MODE_EXACT)),
        cache="MISS",
        own_user=4,
    ),
    Case(
        "page of an index, projected, cut by a budget",
        lambda u: QueryRequest(
            query=query_spec(
                "events",
                "state = :s",
                parameters={"s": f"state-{u}"},
                index="by_state",
                projection=["seq", "map"],
            ),
            budget=Budget(max_scanned_items=2),
        ),
        cache="MISS",
    ),
    Case(
        "stream, MISS",
        lambda u: StreamQueryRequest(query=_of(u), page_size=2),
        cache="MISS",
        own_user=5,
    ),
    Case(
        "stream, HIT",
        lambda u: StreamQueryRequest(query=_of(u), page_size=100),
        cache="HIT",
        own_user=5,
        before=lambda servers, request: _read(
            servers, QueryRequest(query=request.query, page_size=request.page_size)
        ),
    ),
    Case(
        "stream with a total",
        lambda u: StreamQueryRequest(
            query=_of(u), page_size=4, total=TotalOptions(mode=TOTAL_MODE_BOUNDED, up_to=3)
        ),
        cache="MISS",
        own_user=6,
    ),
    Case("count, MISS", lambda u: CountItemsRequest(query=_of(u)), cache="MISS", own_user=7),
    Case("count, HIT", lambda u: CountItemsRequest(query=_of(u)), _read, cache="HIT", own_user=7),
    Case(
        "count, BYPASSED",
        lambda u: CountItemsRequest(query=_of(u), cache=_policy(CACHE_MODE_BYPASS)),
        cache="BYPASSED",
    ),
    Case(
        "batch",
        lambda u: BatchGetItemsRequest(
            table="events", keys=[_key(u, seq) for seq in (1, 99, 0, 1)], projection=["data", "n"]
        ),
    ),
    Case("explanation", lambda u: ExplainQueryRequest(query=_of(u))),
    Case("tables", lambda _: ListTablesRequest()),
    Case("table", lambda _: GetTableRequest(table="events")),
    Case("statistics", lambda _: GetCacheStatsRequest()),
    Case(
        "invalidation",
        lambda u: InvalidateCacheRequest(
            table="events", partition_key=Item(attributes={"user_id": AttributeValue(s=u)})
        ),
    ),
    Case(
        "error: fields",
        lambda u: QueryRequest(query=_of(u, projection=["a..b", "c["]), page_size=-1),
        code=3,
    ),
    Case("error: no key", _query, key=None, code=16),
    Case("error: not granted", _query, key="stranger", code=7),
    Case("error: no such table", lambda u: QueryRequest(query=_of(u, "missing")), code=5),
    Case(
        "error: not cached",
        lambda u: _query(u, CACHE_MODE_ONLY_IF_CACHED),
        code=9,
        own_user=8,
    ),
    Case("error: stream", lambda u: StreamQueryRequest(query=_of(u, "missing")), code=5),
    Case(
        "error: role",
        lambda _: InvalidateCacheRequest(table="events", whole_table=WholeTable()),
        key="reader",
        code=7,
    ),
)


def _forgive_rounding(seen: Any, sent: Any) -> None:
    """Copy times and durations of a message that differ by less than a microsecond."""
    for descriptor, value in sent.ListFields():
        if descriptor.message_type is None or descriptor.is_repeated:
            continue
        other = getattr(seen, descriptor.name)
        if not descriptor.message_type.full_name.startswith("google.protobuf."):
            _forgive_rounding(other, value)
        elif abs(other.ToNanoseconds() - value.ToNanoseconds()) < 1_000:
            other.CopyFrom(value)


async def _seen(servers: Servers, client: Client, case: Case, user: str) -> None:
    """Compare the client's view of one answer with the sent bytes."""
    request = case.request(user)
    await case.before(servers, request)
    key = servers.service.keys[case.key].metadata if case.key else ()
    call = Call(_METHODS[type(request).__name__], request, dict(key))
    servers.recorder.answers.clear()
    outcome: Outcome = await client.call(call)
    await asyncio.gather(*_running)
    _running.clear()
    await eventually(lambda: all(each.ended for each in servers.recorder.answers))
    (answer,) = [each for each in servers.recorder.answers if "content-type" in each.headers]

    sent: list[Any] = [type(call.answer()).FromString(each) for each in answer.messages]
    status = answer.status
    if client.rounds_times:
        for one, other in zip(outcome.messages, sent, strict=True):
            _forgive_rounding(one, other)
    assert outcome.messages == sent
    assert (outcome.code, status.code) == (case.code, case.code)
    if case.code:
        assert status.details
        if outcome.details is not None:
            assert outcome.details == unpacked(status)
        assert outcome.text is None or status.message in outcome.text
    else:
        assert sent
    for message in sent:
        if case.cache:
            assert CacheStatus.Name(message.cache.status) == f"CACHE_STATUS_{case.cache}"


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", NAMES)
async def test_a_foreign_client_sees_the_sent_answer(
    name: str,
    servers: Servers,
    workshop: Workshop,
    report: Callable[[str, str, str], None],
) -> None:
    """It sees every field of every kind of answer, and of errors the fields it shows."""
    client = await asyncio.to_thread(workshop.start, name, servers.recorder.address)
    failed = {}
    try:
        for case in CASES:
            try:
                await _seen(servers, client, case, user_of(name, case.own_user))
            except AssertionError as error:
                failed[case.name] = str(error)[:300]
    finally:
        await client.close()
    report(
        f"interoperability: {name}",
        "every field of every answer as it was sent",
        f"{len(CASES) - len(failed)} of {len(CASES)} cases equal",
    )
    assert not failed
