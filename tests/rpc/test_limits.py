"""Tests of the limits on calls, read units, concurrent reads and the size of a message."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
import pytest_asyncio

from dynamodb_processor.v1.catalog_service_pb2 import GetTableRequest
from dynamodb_processor.v1.query_service_pb2 import QueryRequest
from dynamodb_processor.v1.value_pb2 import AttributeValue, Item
from tests.rpc.data import VIKTOR, events_catalog
from tests.support.lengths import PATIENCE
from tests.support.running import (
    Service,
    make_key,
    open_service,
    query_spec,
    refusal_of,
    refused,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

Code = grpc.StatusCode
_SPEC = query_spec("events", "user_id = :u", parameters={"u": VIKTOR})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def limited(
    tmp_path_factory: pytest.TempPathFactory, dynamodb_local: str, events: str
) -> AsyncIterator[Service]:
    """A server with a key without a limit, and two keys of a principal with a low limit."""
    keys = [
        make_key("reports"),
        make_key("slow-1", principal="slow", rate_class="slow"),
        make_key("slow-2", principal="slow", rate_class="slow"),
    ]
    rates = {
        "default": {"calls_per_second": 1_000},
        "slow": {"calls_per_second": 0.1, "window": 30},
    }
    directory = tmp_path_factory.mktemp("limited")
    async with open_service(
        directory, dynamodb_local, events_catalog(events), keys, rate_classes=rates
    ) as running:
        yield running


async def test_calls_over_the_rate_are_refused_with_advice(limited: Service) -> None:
    """The limit is the principal's, for all of its keys; other principals are not affected."""
    for key in ("slow-1", "slow-2", "slow-1"):
        await limited.query(_SPEC, key=key)
    refusal = await refused(limited.query(_SPEC, key="slow-2"))
    assert (refusal.code, refusal.reason) == (Code.RESOURCE_EXHAUSTED, "RATE_LIMITED")
    (violation,) = refusal.details["QuotaFailure"].violations
    assert violation.subject == "slow"
    wait = refusal.details["RetryInfo"].retry_delay.ToMilliseconds()
    assert 0 < wait <= 60_000
    assert refusal.trailing["grpc-retry-pushback-ms"] == str(wait)
    assert (await limited.query(_SPEC)).stats.items_returned == 5


async def _get_table(service: Service, table: str) -> object:
    request = GetTableRequest(table=table)
    return await service.catalog.GetTable(request, metadata=service.metadata(), timeout=PATIENCE)


def _of_viktor(table: str) -> Any:
    return query_spec(table, "user_id = :u", parameters={"u": VIKTOR})


_FIRST: Final = Item(attributes={"user_id": AttributeValue(s=VIKTOR), "at": AttributeValue(n="1")})
_ABOUT_A_TABLE: Final[Mapping[str, Callable[[Service, str], Awaitable[object]]]] = {
    "Query": lambda service, table: service.query(_of_viktor(table)),
    "StreamQuery": lambda service, table: service.messages(_of_viktor(table), page_size=1),
    "CountItems": lambda service, table: service.count(_of_viktor(table)),
    "BatchGetItems": lambda service, table: service.get(table, [_FIRST]),
    "ExplainQuery": lambda service, table: service.explain(_of_viktor(table)),
    "GetTable": _get_table,
    "InvalidateCache": lambda service, table: service.invalidate(table),
}


async def test_calls_for_a_table_may_have_their_own_limit(
    tmp_path: Path, dynamodb_local: str, events: str
) -> None:
    """A call of each method counts once; calls for a missing table are never counted."""
    window, most = 1_000_000, len(_ABOUT_A_TABLE)
    rates = {"calls_per_second": 1_000, "window": window, "table_calls_per_second": most / window}
    keys = [make_key("tester", roles=["admin", "reader"])]
    catalog = events_catalog(events) | {"discover": ["gone-*"]}
    async with open_service(
        tmp_path, dynamodb_local, catalog, keys, rate_classes={"default": rates}
    ) as service:
        for call in _ABOUT_A_TABLE.values():
            await call(service, "events")
        for call in _ABOUT_A_TABLE.values():
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(service, "events")
            refusal = refusal_of(caught.value)
            assert (refusal.code, refusal.reason) == (Code.RESOURCE_EXHAUSTED, "RATE_LIMITED")
            (violation,) = refusal.details["QuotaFailure"].violations
            assert violation.subject == "tester/events"
            description = f"over the limit of {most} calls in {window} s on events"
            assert violation.description == description
            wait = refusal.details["RetryInfo"].retry_delay.ToMilliseconds()
            assert 0 < wait <= 2_000 * window
            assert refusal.trailing["grpc-retry-pushback-ms"] == str(wait)
        for _ in range(2 * most):
            refusal = await refused(service.query(_of_viktor("gone-1"), key="tester"))
            assert refusal.code is Code.NOT_FOUND
        for call in _ABOUT_A_TABLE.values():
            await call(service, "uncached")


async def test_read_units_are_charged_reported_and_limited(
    tmp_path: Path, dynamodb_local: str, events: str
) -> None:
    """A read in debt is refused, a stream after its last paid page; a cached page costs nothing."""
    keys = [
        make_key("tester"),
        make_key("ruled", tables=[{"table": "*", "rule": f"user_id = '{VIKTOR}'"}]),
        make_key("streamer"),
    ]
    rates = {"default": {"calls_per_second": 1_000, "read_units_per_minute": 1}}
    spec = query_spec("uncached", "user_id = :u", parameters={"u": VIKTOR})
    async with open_service(
        tmp_path, dynamodb_local, events_catalog(events), keys, rate_classes=rates
    ) as service:

        async def remaining(of: Any, key: str) -> str | bytes | None:
            call = service.queries.Query(QueryRequest(query=of), metadata=service.metadata(key))
            await call
            return dict((await call.trailing_metadata()) or ()).get("x-read-units-remaining")

        assert await remaining(_SPEC, "tester") == "0"  # half a unit is left
        assert await remaining(_SPEC, "tester") == "0"
        for _ in range(2):
            await service.query(spec)
        refusal = await refused(service.query(spec, key="tester"))
        assert (refusal.code, refusal.reason) == (Code.RESOURCE_EXHAUSTED, "RATE_LIMITED")
        (violation,) = refusal.details["QuotaFailure"].violations
        assert violation.subject == "tester"
        assert violation.description == "over the limit of 1 read units per minute"
        wait = refusal.details["RetryInfo"].retry_delay.ToMilliseconds()
        assert 0 < wait <= 30_000
        assert refusal.trailing["grpc-retry-pushback-ms"] == str(wait)

        for _ in range(3):
            assert await remaining(spec, "ruled") is None
        refusal = await refused(service.query(spec, key="ruled"))
        assert refusal.details["RetryInfo"].retry_delay.ToMilliseconds() == 60_000

        messages = []

        async def receive() -> None:
            async for message in service.stream(spec, key="streamer", page_size=1):
                messages.append(message)  # noqa: PERF401 - those before a failure are kept

        # The third page brings the debt. It is read ahead and charged, so it is sent.
        assert (await refused(receive())).reason == "RATE_LIMITED"
        assert len(messages) == 3
        assert all(message.resume_token for message in messages)
        assert messages[-1].cumulative.read_units == 1.5


async def test_reads_wait_in_a_queue(tmp_path: Path, dynamodb_local: str, events: str) -> None:
    """A short queue absorbs bursts."""
    async with open_service(
        tmp_path, dynamodb_local, events_catalog(events), max_concurrent_reads=1, admission_queue=4
    ) as service:
        spec = query_spec("uncached", "user_id = :u", parameters={"u": VIKTOR})
        answers = await asyncio.gather(*(service.query(spec) for _ in range(4)))
        assert [answer.stats.items_returned for answer in answers] == [5] * 4


async def test_a_message_over_a_mebibyte_is_refused(service: Service) -> None:
    """GRPC itself refuses it before it is received."""
    spec = query_spec("events", "user_id = :u", parameters={"u": "x" * (1024 * 1024)})
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.query(spec)
    assert caught.value.code() is Code.RESOURCE_EXHAUSTED
