"""Tests the bytes of all methods' responses, in every cache status, with a strict parser."""

from __future__ import annotations

import asyncio
import base64
import itertools
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
import pytest
import pytest_asyncio
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2

from dynamodb_processor.v1 import cache_service_pb2, catalog_service_pb2, query_service_pb2
from dynamodb_processor.v1.query_pb2 import (
    CACHE_MODE_BYPASS,
    CACHE_MODE_ONLY_IF_CACHED,
    CACHE_MODE_REFRESH,
    TOTAL_MODE_BOUNDED,
    Budget,
    CachePolicy,
    CacheStatus,
    QuerySpec,
    TotalOptions,
)
from dynamodb_processor.v1.value_pb2 import AttributeValue, Item
from dynamodb_processor_server.rpc.server import (
    CACHE_SERVICE,
    CATALOG_SERVICE,
    HEALTH_SERVICE,
    QUERY_SERVICE,
)
from tests.rpc.data import ULRIKE, VIKTOR, events_catalog
from tests.support.redis_server import RedisServer
from tests.support.running import Service, make_key, open_service, query_spec
from tests.support.wire_format import oddities

pytestmark = pytest.mark.asyncio(loop_scope="module")

_lows = itertools.count(-1_000_000)
_BYPASS: Final = CachePolicy(mode=CACHE_MODE_BYPASS)
_REFRESH: Final = CachePolicy(mode=CACHE_MODE_REFRESH)
_ONLY_IF_CACHED: Final = CachePolicy(mode=CACHE_MODE_ONLY_IF_CACHED)
_DETAILS: Final[dict[str, Any]] = {
    kind.DESCRIPTOR.full_name: kind.DESCRIPTOR
    for kind in vars(error_details_pb2).values()
    if isinstance(kind, type) and issubclass(kind, Message)
}


class Reader:
    """Calls the methods of two replicas and checks the bytes of their responses.

    `statuses` are the cache statuses seen so far, with the name of the method.
    """

    def __init__(self, replicas: list[Service]) -> None:
        self._replicas = replicas
        self.statuses: set[tuple[str, str]] = set()
        self.methods: set[str] = set()

    async def __call__(self, method: Any, request: Message, *, replica: int = 0) -> list[Any]:
        """Return the responses to a call, none if it is refused, after checking their bytes."""
        service = self._replicas[replica]
        path = f"/{method.containing_service.full_name}/{method.name}"
        data = request.SerializeToString()
        answers: list[bytes] = []
        try:
            if method.server_streaming:
                stream: Any = service.channel.unary_stream(path)
                call = stream(data, metadata=service.metadata(), timeout=30.0)
                answers = [answer async for answer in call]
            else:
                make: Any = service.channel.unary_unary(path)
                answers = [await make(data, metadata=service.metadata(), timeout=30.0)]
        except grpc.aio.AioRpcError as error:
            _check_status(error)
        self.methods.add(method.full_name)
        parse = GetMessageClass(method.output_type).FromString
        for answer in answers:
            assert oddities(answer, method.output_type) == []
            self._note(method, parse(answer))
        return [parse(answer) for answer in answers]

    def _note(self, method: MethodDescriptor, message: Any) -> None:
        if "cache" in method.output_type.fields_by_name:
            name = CacheStatus.Name(message.cache.status).removeprefix("CACHE_STATUS_")
            self.statuses.add((method.name, name))


def _check_status(error: grpc.aio.AioRpcError) -> None:
    trailing: dict[str, Any] = {str(name): v for name, v in error.trailing_metadata() or ()}
    packed = trailing["grpc-status-details-bin"]
    assert oddities(packed, status_pb2.Status.DESCRIPTOR) == []
    for detail in status_pb2.Status.FromString(packed).details:
        descriptor = _DETAILS[detail.TypeName()]
        assert oddities(detail.value, descriptor) == []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def reader(
    tmp_path_factory: pytest.TempPathFactory,
    dynamodb_local: str,
    events: str,
    redis_server: RedisServer,
) -> AsyncIterator[Reader]:
    """Two replicas that share a cache, with a table whose pages may be stale."""
    catalog = events_catalog(events)
    catalog["tables"]["stale"] = {
        "table": events,
        "cache_ttl": 1,
        "stale_while_revalidate": 600,
        "required": ["system_id", "level"],
    }
    ring = base64.urlsafe_b64encode(b"k" * 32).decode()
    shared: dict[str, Any] = {
        "redis_url": redis_server.url,
        "redis_prefix": "answer-bytes:",
        "redis_timeout": 1.0,
        "token_keys": f"first:{ring}",
    }
    keys = [make_key("tester", roles=["reader", "admin"])]
    ours, theirs = (tmp_path_factory.mktemp(name) for name in ("ours", "theirs"))
    async with (
        open_service(ours, dynamodb_local, catalog, keys, **shared) as one,
        open_service(theirs, dynamodb_local, catalog, keys, **shared) as other,
    ):
        yield Reader([one, other])


def fresh(user: str = ULRIKE, table: str = "events") -> QuerySpec:
    """Return a query that is not cached yet: all of a user's events, in another spelling."""
    parameters = {"u": user, "low": next(_lows)}
    return query_spec(table, "user_id = :u AND at > :low", parameters=parameters)


METHODS: Final = QUERY_SERVICE.methods_by_name
_TOTAL: Final = TotalOptions(mode=TOTAL_MODE_BOUNDED, up_to=20)


@pytest.mark.parametrize("name", ["Query", "StreamQuery", "CountItems"])
async def test_no_field_occurs_twice_in_any_cache_status(reader: Reader, name: str) -> None:
    """Pages, streams and counts are read, cached, shared, joined, stale and bypassed."""
    method = METHODS[name]
    make = GetMessageClass(method.input_type)
    extras: list[dict[str, Any]] = [{}, {"budget": Budget(max_scanned_items=5)}, {"total": _TOTAL}]
    if name != "CountItems":
        extras.append({"page_size": 7, "total": _TOTAL})
    for extra in extras:
        spec = fresh()
        for cache in (None, None, _BYPASS, _REFRESH, _ONLY_IF_CACHED):
            await reader(method, make(query=spec, cache=cache, **extra))
        await reader(method, make(query=spec, **extra), replica=1)
    while (name, "COALESCED") not in reader.statuses:
        spec = fresh()
        await asyncio.gather(*(reader(method, make(query=spec)) for _ in range(30)))
    spec = fresh(VIKTOR, "stale")
    while (name, "STALE") not in reader.statuses:
        await reader(method, make(query=spec))
        await asyncio.sleep(0.05)
    seen = {status for called, status in reader.statuses if called == name}
    assert seen == {"HIT", "SHARED_HIT", "MISS", "COALESCED", "STALE", "BYPASSED"}


async def test_no_field_occurs_twice_in_other_responses(reader: Reader) -> None:
    """Responses of methods without a cache, and errors, are strict as well."""
    keys = [
        Item(attributes={"user_id": AttributeValue(s=ULRIKE), "at": AttributeValue(n=index)})
        for index in ("1", "2", "999")
    ]
    whole = cache_service_pb2.WholeTable()
    for method, request in (
        (METHODS["BatchGetItems"],
         query_service_pb2.BatchGetItemsRequest(table="events", keys=keys)),
        (METHODS["ExplainQuery"], query_service_pb2.ExplainQueryRequest(query=fresh())),
        (CATALOG_SERVICE.methods_by_name["ListTables"],
         catalog_service_pb2.ListTablesRequest(page_size=2)),
        (CATALOG_SERVICE.methods_by_name["GetTable"],
         catalog_service_pb2.GetTableRequest(table="events")),
        (CACHE_SERVICE.methods_by_name["InvalidateCache"],
         cache_service_pb2.InvalidateCacheRequest(table="events", whole_table=whole)),
        (CACHE_SERVICE.methods_by_name["GetCacheStats"],
         cache_service_pb2.GetCacheStatsRequest()),
        (HEALTH_SERVICE.methods_by_name["Check"], health_pb2.HealthCheckRequest()),
    ):  # fmt: skip
        assert len(await reader(method, request)) == 1
    for spec in (query_spec("", "a ="), query_spec("nowhere", "a = 1"), query_spec("events")):
        assert await reader(METHODS["Query"], query_service_pb2.QueryRequest(query=spec)) == []
    ours = {
        method.full_name
        for service in (QUERY_SERVICE, CATALOG_SERVICE, CACHE_SERVICE)
        for method in service.methods
    }
    assert ours <= reader.methods | {METHODS[n].full_name for n in ("StreamQuery", "CountItems")}
