"""A server inside the test's own process, on DynamoDB Local, with a channel to it.

Everything is as in production but the process: the same composition, a real socket, real files. A
test passes other values as settings.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from dynamodb_processor.v1.cache_service_pb2 import InvalidateCacheRequest, WholeTable
from dynamodb_processor.v1.cache_service_pb2_grpc import CacheServiceStub
from dynamodb_processor.v1.catalog_service_pb2_grpc import CatalogServiceStub
from dynamodb_processor.v1.query_pb2 import QuerySpec
from dynamodb_processor.v1.query_service_pb2 import (
    BatchGetItemsRequest,
    BatchGetItemsResponse,
    CountItemsRequest,
    CountItemsResponse,
    ExplainQueryRequest,
    ExplainQueryResponse,
    QueryRequest,
    QueryResponse,
    StreamQueryRequest,
    StreamQueryResponse,
)
from dynamodb_processor.v1.query_service_pb2_grpc import QueryServiceStub
from dynamodb_processor.v1.value_pb2 import AttributeValue, Item
from dynamodb_processor_server.app import App, open_app
from dynamodb_processor_server.auth.keys_file import digest_of, new_key
from dynamodb_processor_server.limits.call_rate import RateClass
from dynamodb_processor_server.settings import Settings
from tests.support.backends import REGION
from tests.support.channels import remember
from tests.support.lengths import PATIENCE

#: A rate class for tests that do not test limits.
UNLIMITED = RateClass(1_000_000, planning_seconds_per_second=None)
# A call that takes longer than this is a failed test.
_CALL_TIMEOUT = PATIENCE
_DETAILS = (
    error_details_pb2.ErrorInfo,
    error_details_pb2.BadRequest,
    error_details_pb2.PreconditionFailure,
    error_details_pb2.QuotaFailure,
    error_details_pb2.RetryInfo,
)


@dataclass(frozen=True, slots=True)
class Key:
    """An API key and its entry in the keys file."""

    text: str
    entry: Mapping[str, Any]

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The metadata of a call with this key."""
        return (("x-api-key", self.text),)


def make_key(key_id: str, *, tables: Sequence[Any] = ("*",), **more: Any) -> Key:
    """Return a new key whose principal has the name of its id, unless `more` says otherwise."""
    text, digest = new_key()
    entry = {"id": key_id, "principal": key_id, "digest": digest, "tables": list(tables)}
    assert digest == digest_of(text)
    return Key(text, entry | more)


@dataclass
class Service:
    """A running server and how to call it.

    `keys` are by id; calls are made with the first one unless they name another. `catalog_file` and
    `keys_file` may be rewritten to see a reload.
    """

    app: App
    channel: grpc.aio.Channel
    keys: dict[str, Key]
    catalog_file: Path
    keys_file: Path
    _first: Key = field(init=False)

    def __post_init__(self) -> None:
        self._first = next(iter(self.keys.values()))
        self.queries = QueryServiceStub(self.channel)
        self.catalog = CatalogServiceStub(self.channel)
        self.cache = CacheServiceStub(self.channel)
        self.health: Any = health_pb2_grpc.HealthStub(self.channel)

    def metadata(self, key: str | None = None) -> tuple[tuple[str, str], ...]:
        """Return the metadata with a key."""
        return (self.keys[key] if key else self._first).metadata

    async def query(
        self, spec: QuerySpec, *, key: str | None = None, **fields: Any
    ) -> QueryResponse:
        """Return one page; `fields` are those of `QueryRequest`."""
        request = QueryRequest(query=spec, **fields)
        return await self.queries.Query(request, metadata=self.metadata(key), timeout=_CALL_TIMEOUT)

    def stream(
        self, spec: QuerySpec, *, key: str | None = None, **fields: Any
    ) -> grpc.aio.UnaryStreamCall[StreamQueryRequest, StreamQueryResponse]:
        """Return a call that gives every page; `fields` are those of `StreamQueryRequest`."""
        request = StreamQueryRequest(query=spec, **fields)
        call: grpc.aio.UnaryStreamCall[StreamQueryRequest, StreamQueryResponse]
        call = self.queries.StreamQuery(request, metadata=self.metadata(key), timeout=_CALL_TIMEOUT)
        return call

    async def messages(
        self, spec: QuerySpec, *, key: str | None = None, **fields: Any
    ) -> list[StreamQueryResponse]:
        """Return every message of a stream."""
        return [message async for message in self.stream(spec, key=key, **fields)]

    async def count(
        self, spec: QuerySpec, *, key: str | None = None, **fields: Any
    ) -> CountItemsResponse:
        """Return a count; `fields` are those of `CountItemsRequest`."""
        request = CountItemsRequest(query=spec, **fields)
        return await self.queries.CountItems(
            request, metadata=self.metadata(key), timeout=_CALL_TIMEOUT
        )

    async def get(
        self, table: str, keys: Sequence[Item], *, key: str | None = None, **fields: Any
    ) -> BatchGetItemsResponse:
        """Return the results of primary keys; `fields` are those of `BatchGetItemsRequest`."""
        request = BatchGetItemsRequest(table=table, keys=keys, **fields)
        return await self.queries.BatchGetItems(
            request, metadata=self.metadata(key), timeout=_CALL_TIMEOUT
        )

    async def explain(self, spec: QuerySpec, *, key: str | None = None) -> ExplainQueryResponse:
        """Return the explanation of a query."""
        return await self.queries.ExplainQuery(
            ExplainQueryRequest(query=spec), metadata=self.metadata(key), timeout=_CALL_TIMEOUT
        )

    async def invalidate(self, table: str, *, key: str | None = None, **partition: Any) -> None:
        """Invalidate a partition, or the whole table if none is named."""
        request = InvalidateCacheRequest(table=table)
        if partition:
            values = {name: _value(data) for name, data in partition.items()}
            request.partition_key.CopyFrom(Item(attributes=values))
        else:
            request.whole_table.CopyFrom(WholeTable())
        await self.cache.InvalidateCache(
            request, metadata=self.metadata(key), timeout=_CALL_TIMEOUT
        )

    async def check(self, name: str = "readiness") -> str:
        """Return the status that the health service reports for a name."""
        request = health_pb2.HealthCheckRequest(service=name)
        answer = await self.health.Check(request, timeout=_CALL_TIMEOUT)
        return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)

    def write_keys(self, *keys: Key, certificates: Sequence[Mapping[str, Any]] = ()) -> None:
        """Write these keys and certificates; they apply after the next read of the file."""
        write_keys(self.keys_file, keys, certificates)


@asynccontextmanager
async def open_service(
    directory: Path,
    endpoint_url: str,
    catalog: Mapping[str, Any],
    keys: Sequence[Key] | None = None,
    *,
    certificates: Sequence[Mapping[str, Any]] = (),
    connect: Callable[[str], grpc.aio.Channel] = grpc.aio.insecure_channel,
    **settings: Any,
) -> AsyncIterator[Service]:
    """Run a server for the time of the `async with`.

    Args:
        directory: where its two files are written.
        endpoint_url: DynamoDB's address.
        catalog: the content of the catalog file.
        keys: the valid keys; one that may read everything, unless given.
        certificates: entries of the keys file for client certificates.
        connect: opens the channel to the server's address.
        settings: those that differ from `server_settings`.
    """
    keys = keys or [make_key("tester")]
    catalog_file, keys_file = directory / "catalog.yaml", directory / "keys.yaml"
    write_catalog(catalog_file, catalog)
    write_keys(keys_file, keys, certificates)
    ours = server_settings(catalog_file, keys_file, endpoint_url=endpoint_url, **settings)
    async with open_app(ours) as app, connect(app.address) as channel:
        by_id = {key.entry["id"]: key for key in keys}
        yield Service(app, channel, by_id, catalog_file, keys_file)


def server_settings(catalog: Path, keys: Path, **settings: Any) -> Settings:
    """Return settings for a server that chooses its ports and drains at once."""
    ours: dict[str, Any] = {
        "listen": "127.0.0.1:0",
        "metrics_listen": None,
        "region": REGION,
        "reload_interval": 0.05,
        "drain_delay": 0.0,
        "drain_grace": 2.0,
        # The duration of planning depends more on the machine than on the code.
        "rate_classes": {"default": RateClass(1_000, planning_seconds_per_second=None)},
    }
    given = None if "keys_secret" in settings else keys
    return Settings(catalog=catalog, keys=given, **(ours | settings))


def write_catalog(file: Path, catalog: Mapping[str, Any]) -> None:
    """Write a catalog file atomically."""
    _replace(file, yaml.safe_dump(dict(catalog), sort_keys=False))


def write_keys(
    file: Path, keys: Sequence[Key], certificates: Sequence[Mapping[str, Any]] = ()
) -> None:
    """Write a keys file atomically."""
    content: dict[str, Any] = {"keys": [dict(key.entry) for key in keys]}
    if certificates:
        content["certificates"] = [dict(entry) for entry in certificates]
    _replace(file, yaml.safe_dump(content, sort_keys=False))


def _replace(file: Path, text: str) -> None:
    draft = file.with_suffix(".draft")
    draft.write_text(text, "utf-8")
    draft.replace(file)


def query_spec(table: str, expression: str = "", /, **fields: Any) -> QuerySpec:
    """Return a query. `parameters` may hold str, int, bytes and bool besides values."""
    parameters = {name: _value(v) for name, v in fields.pop("parameters", {}).items()}
    return QuerySpec(table=table, expression=expression, parameters=parameters, **fields)


def _value(data: Any) -> AttributeValue:
    match data:
        case bool():
            return AttributeValue(bool=data)
        case str():
            return AttributeValue(s=data)
        case int():
            return AttributeValue(n=str(data))
        case bytes():
            return AttributeValue(b=data)
    assert isinstance(data, AttributeValue)
    return data


def numbers(items: Sequence[Item], attribute: str) -> list[int]:
    """Return one whole-number attribute of items, in order."""
    return [int(item.attributes[attribute].n) for item in items]


@dataclass(frozen=True, slots=True)
class Refusal:
    """The failure of a call: its status and the `google.rpc` details, by type."""

    code: grpc.StatusCode
    message: str
    details: Mapping[str, Any]
    trailing: Mapping[str, str | bytes]

    @property
    def reason(self) -> str:
        """The machine-readable reason."""
        return str(self.details["ErrorInfo"].reason)

    @property
    def fields(self) -> list[str]:
        """The paths of the invalid fields, in order."""
        return [violation.field for violation in self.details["BadRequest"].field_violations]

    @property
    def descriptions(self) -> dict[str, str]:
        """The violation of each field."""
        return {v.field: v.description for v in self.details["BadRequest"].field_violations}


def refusal_of(error: grpc.aio.AioRpcError) -> Refusal:
    """Return the failure of a call, its details decoded and checked against the status."""
    remember("", error)
    trailing = {str(key): value for key, value in error.trailing_metadata() or ()}
    details: dict[str, Message] = {}
    packed = trailing.get("grpc-status-details-bin")
    if packed is not None:
        assert isinstance(packed, bytes)
        status = status_pb2.Status.FromString(packed)
        assert status.code == error.code().value[0]
        assert status.message == error.details()
        for entry in status.details:
            kind = next(kind for kind in _DETAILS if entry.Is(kind.DESCRIPTOR))
            details[kind.DESCRIPTOR.name] = kind.FromString(entry.value)
    return Refusal(error.code(), error.details() or "", details, trailing)


async def refused(call: Awaitable[Any]) -> Refusal:
    """Return the failure of a call, which must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return refusal_of(caught.value)


async def eventually(condition: Callable[[], Any], *, patience: float = PATIENCE) -> Any:
    """Wait until `condition`, a function or coroutine function, is true, and return its result."""
    end = time.monotonic() + patience
    while True:
        result = condition()
        if asyncio.iscoroutine(result):
            result = await result
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"still not so after {patience} s")
        await asyncio.sleep(0.01)
