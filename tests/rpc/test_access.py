"""Who may call what, how often and how many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
import pytest_asyncio

from dynamodb_processor.v1.catalog_service_pb2 import GetTableRequest, ListTablesRequest
from dynamodb_processor.v1.query_service_pb2 import QueryRequest
from dynamodb_processor.v1.value_pb2 import AttributeValue, Item
from tests.rpc.data import VIKTOR, events_catalog
from tests.rpc.logged import Logged
from tests.support.lengths import PATIENCE
from tests.support.running import (
    Key,
    Refusal,
    Service,
    eventually,
    make_key,
    open_service,
    query_spec,
    refusal_of,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

Code = grpc.StatusCode
_SPEC = query_spec("events", "user_id = :u", parameters={"u": VIKTOR})


async def refused(service: Service, metadata: Sequence[tuple[str, str]]) -> Refusal:
    """Return how a call with this metadata fails."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.queries.Query(
            QueryRequest(query=_SPEC), metadata=tuple(metadata), timeout=PATIENCE
        )
    return refusal_of(caught.value)


async def query_refused(service: Service, key: str, spec: Any) -> Refusal:
    """Return how a query fails."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.query(spec, key=key)
    return refusal_of(caught.value)


# Authentication


@pytest.mark.parametrize(
    "header",
    [("x-api-key", "{}"), ("authorization", "Bearer {}"), ("authorization", "bearer {}")],
    ids=["x-api-key", "bearer", "bearer in small letters"],
)
async def test_a_key_is_good_in_either_header(service: Service, header: tuple[str, str]) -> None:
    """Callers take the one that their tools know."""
    name, form = header
    metadata = ((name, form.format(service.keys["reports"].text)),)
    answer = await service.queries.Query(
        QueryRequest(query=_SPEC), metadata=metadata, timeout=PATIENCE
    )
    assert answer.stats.items_returned == 5


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ((), "no API key: send x-api-key or authorization: Bearer"),
        ((("x-api-key", "ddbp_wrong"),), "the API key is not valid"),
        ((("x-api-key", ""),), "no API key"),
        ((("authorization", "Basic dXNlcjpwYXNz"),), "no API key"),
        ((("authorization", "Bearer ddbp_wrong"),), "the API key is not valid"),
        ((("x-api-key", "one"), ("authorization", "Bearer two")), "more than one API key"),
    ],
)
async def test_without_a_good_key_nobody_gets_in(
    service: Service, metadata: Sequence[tuple[str, str]], words: str
) -> None:
    """Missing, wrong, of another scheme, ambiguous: UNAUTHENTICATED, with no hint at good ones."""
    refusal = await refused(service, metadata)
    assert (refusal.code, refusal.reason) == (Code.UNAUTHENTICATED, "UNAUTHENTICATED")
    assert words in refusal.message
    assert "wrong" not in refusal.message


@pytest.mark.parametrize("method", ["Query", "StreamQuery", "ListTables", "GetTable"])
async def test_every_method_asks_for_a_key(service: Service, method: str) -> None:
    """Also the bytes of a request are not looked at before."""
    owner = "Catalog" if "Table" in method else "Query"
    call: Any = service.channel.unary_unary(f"/dynamodb_processor.v1.{owner}Service/{method}")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(b"\xff\xff", timeout=PATIENCE)
    assert caught.value.code() is Code.UNAUTHENTICATED


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def doors(tmp_path_factory: pytest.TempPathFactory, dynamodb_local: str, events: str) -> Any:
    """A server with keys of many kinds and narrow limits."""
    keys = [
        make_key("reports"),
        make_key("expired", expires="2020-01-01T00:00:00Z"),
        make_key("operator", roles=["admin"]),
        make_key("both", roles=["admin", "reader"]),
        make_key("flyer", tables=["fl*", "gone"]),
        make_key("slow-1", principal="slow", rate_class="slow"),
        make_key("slow-2", principal="slow", rate_class="slow"),
    ]
    rates = {
        "default": {"calls_per_second": 1_000},
        "slow": {"calls_per_second": 0.1, "window": 30},
    }
    catalog = events_catalog(events)
    catalog["tables"]["gone"] = {"table": "rpc-was-never-there"}
    directory = tmp_path_factory.mktemp("doors")
    async with open_service(
        directory, dynamodb_local, catalog, keys, rate_classes=rates
    ) as running:
        yield running


async def test_an_expired_key_is_refused_like_a_wrong_one(doors: Service) -> None:
    """Who tries keys does not learn that this one was good once."""
    refusal = await refused(doors, doors.metadata("expired"))
    assert refusal.code is Code.UNAUTHENTICATED
    assert refusal.message == "the API key is not valid"


# Roles and grants


async def test_a_key_without_the_reader_role_reads_nothing(doors: Service) -> None:
    """Neither items nor the catalog."""
    refusal = await query_refused(doors, "operator", _SPEC)
    assert (refusal.code, refusal.reason) == (Code.PERMISSION_DENIED, "PERMISSION_DENIED")
    assert refusal.message == "this method needs the role reader"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await doors.catalog.ListTables(
            ListTablesRequest(), metadata=doors.metadata("operator"), timeout=PATIENCE
        )
    assert caught.value.code() is Code.PERMISSION_DENIED
    assert (await doors.query(_SPEC, key="both")).stats.items_returned == 5


@pytest.mark.parametrize(
    "spec",
    [
        query_spec("events", "user_id = :u", parameters={"u": VIKTOR}),
        query_spec("no-such-table", "user_id = :u", parameters={"u": VIKTOR}),
        query_spec("events", "this is ( no expression", order=9),
        query_spec("x" * 300, "a = 1"),
        query_spec("FLIGHTS", "a = 1"),
    ],
    ids=["existing", "missing", "with mistakes", "with a long name", "of another case"],
)
async def test_a_table_that_is_not_granted_is_refused_before_anything_else(
    doors: Service, spec: Any
) -> None:
    """Whether it exists, and whether the query is sound, stays unsaid."""
    refusal = await query_refused(doors, "flyer", spec)
    assert refusal.code is Code.PERMISSION_DENIED
    assert refusal.message == f"table {spec.table[:255]} is not granted to flyer"
    assert refusal.details.keys() == {"ErrorInfo"}


async def test_get_table_keeps_the_same_silence(doors: Service) -> None:
    """The catalog says no more than the queries."""
    for name, code in {"events": Code.PERMISSION_DENIED, "gone": Code.NOT_FOUND}.items():
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await doors.catalog.GetTable(
                GetTableRequest(table=name), metadata=doors.metadata("flyer"), timeout=PATIENCE
            )
        assert caught.value.code() is code


async def test_a_granted_table_that_does_not_exist_is_not_found(doors: Service) -> None:
    """In the catalog but not in DynamoDB, and in neither, look alike."""
    for name in ("gone", "flown"):
        refusal = await query_refused(doors, "flyer", query_spec(name, "a = 1"))
        assert (refusal.code, refusal.reason) == (Code.NOT_FOUND, "TABLE_NOT_FOUND")
        assert refusal.message == f"table {name} does not exist"


# Reloading


async def test_the_keys_file_is_followed(
    tmp_path: Path, dynamodb_local: str, events: str, logged: Logged
) -> None:
    """New keys work and removed ones do not, without a restart; a bad file changes nothing."""
    old, new = make_key("old"), make_key("new")
    async with open_service(tmp_path, dynamodb_local, events_catalog(events), [old]) as service:

        async def works(key: Key) -> bool:
            request = QueryRequest(query=_SPEC)
            call = service.queries.Query(request, metadata=key.metadata, timeout=PATIENCE)
            code = await call.code()
            assert code in (Code.OK, Code.UNAUTHENTICATED)
            return code is Code.OK

        assert await works(old)
        assert not await works(new)
        service.write_keys(new)
        await eventually(lambda: works(new))
        assert not await works(old)

        service.keys_file.write_text("keys: [{id: broken, digest: plain-key-by-mistake}]")
        await eventually(lambda: logged.of("document_refused"))
        assert await works(new)
        assert "plain-key-by-mistake" not in logged.text
        (record,) = logged.of("document_refused")
        assert all("keys.yaml:1" in mistake for mistake in record["mistakes"])


# Limits


async def test_calls_over_the_rate_are_refused_with_advice(doors: Service) -> None:
    """The limit is the principal's, whichever of its keys it shows; others do not feel it."""
    for key in ("slow-1", "slow-2", "slow-1"):
        await doors.query(_SPEC, key=key)
    refusal = await query_refused(doors, "slow-2", _SPEC)
    assert (refusal.code, refusal.reason) == (Code.RESOURCE_EXHAUSTED, "RATE_LIMITED")
    (violation,) = refusal.details["QuotaFailure"].violations
    assert violation.subject == "slow"
    wait = refusal.details["RetryInfo"].retry_delay.ToMilliseconds()
    assert 0 < wait <= 60_000
    assert refusal.trailing["grpc-retry-pushback-ms"] == str(wait)
    assert (await doors.query(_SPEC)).stats.items_returned == 5


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


async def test_calls_about_a_table_may_have_a_limit_of_their_own(
    tmp_path: Path, dynamodb_local: str, events: str
) -> None:
    """Of whichever method, each counts once; a table that is not there is never counted."""
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
            told = f"over the limit of {most} calls in {window} s on events"
            assert violation.description == told
            wait = refusal.details["RetryInfo"].retry_delay.ToMilliseconds()
            assert 0 < wait <= 2_000 * window
            assert refusal.trailing["grpc-retry-pushback-ms"] == str(wait)
        for _ in range(2 * most):
            refusal = await query_refused(service, "tester", _of_viktor("gone-1"))
            assert refusal.code is Code.NOT_FOUND
        for call in _ABOUT_A_TABLE.values():
            await call(service, "uncached")


async def test_read_units_are_charged_told_and_limited(
    tmp_path: Path, dynamodb_local: str, events: str
) -> None:
    """A read in debt is refused, a stream between two messages; a cached page costs nothing."""
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
        refusal = await query_refused(service, "tester", spec)
        assert (refusal.code, refusal.reason) == (Code.RESOURCE_EXHAUSTED, "RATE_LIMITED")
        (violation,) = refusal.details["QuotaFailure"].violations
        assert violation.subject == "tester"
        assert violation.description == "over the limit of 1 read units per minute"
        wait = refusal.details["RetryInfo"].retry_delay.ToMilliseconds()
        assert 0 < wait <= 30_000
        assert refusal.trailing["grpc-retry-pushback-ms"] == str(wait)

        for _ in range(3):
            assert await remaining(spec, "ruled") is None
        refusal = await query_refused(service, "ruled", spec)
        assert refusal.details["RetryInfo"].retry_delay.ToMilliseconds() == 60_000

        stream = service.stream(spec, key="streamer", page_size=1)
        for _ in range(3):
            message: Any = await stream.read()
            assert message.resume_token
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stream.read()
        assert refusal_of(caught.value).reason == "RATE_LIMITED"


async def test_reads_wait_their_turn_where_there_is_a_queue(
    tmp_path: Path, dynamodb_local: str, events: str
) -> None:
    """A short queue takes the peaks."""
    async with open_service(
        tmp_path, dynamodb_local, events_catalog(events), max_concurrent_reads=1, admission_queue=4
    ) as service:
        spec = query_spec("uncached", "user_id = :u", parameters={"u": VIKTOR})
        answers = await asyncio.gather(*(service.query(spec) for _ in range(4)))
        assert [answer.stats.items_returned for answer in answers] == [5] * 4


async def test_a_message_over_a_mebibyte_is_refused(service: Service) -> None:
    """By gRPC itself, before it is read."""
    spec = query_spec("events", "user_id = :u", parameters={"u": "x" * (1024 * 1024)})
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.query(spec)
    assert caught.value.code() is Code.RESOURCE_EXHAUSTED
