"""Single items in the model of `session_model.py`: what the table has, and how replicas get it.

A get goes the way of `BatchGetItems`, from the request to the freshness token of the response.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from dynamodb_processor.v1 import query_pb2
from dynamodb_processor.v1.query_service_pb2 import BatchGetItemsRequest, BatchGetItemsResponse
from dynamodb_processor_server.auth.grants import Grant
from dynamodb_processor_server.auth.principal import Principal
from dynamodb_processor_server.batch_reader import BatchGetRequest, BatchGetResult, ItemReader
from dynamodb_processor_server.cache.item_cache import ItemCache
from dynamodb_processor_server.cache.item_reader import CachingItemReader
from dynamodb_processor_server.cache.item_sharing import ItemSharing
from dynamodb_processor_server.catalog.schema import Table
from dynamodb_processor_server.dynamodb.bounded_batches import BoundedBatches
from dynamodb_processor_server.limits.call_rate import CallRateLimits
from dynamodb_processor_server.limits.read_units import ReadUnitLimits
from dynamodb_processor_server.query.expression.parser import parse_expression
from dynamodb_processor_server.query.expression.values import WireItem
from dynamodb_processor_server.query.planning.expression_writer import requested_paths
from dynamodb_processor_server.query.planning.projection import project
from dynamodb_processor_server.query.planning.row_rule import RowRule
from dynamodb_processor_server.reader import (
    CacheMode,
    CachePolicy,
    Caller,
    ReadOptions,
    Usage,
)
from dynamodb_processor_server.rpc.call_context import Call
from dynamodb_processor_server.rpc.call_limits import CallBounds, CallLimits
from dynamodb_processor_server.rpc.decode.freshness import SEPARATOR, RequestedFreshness
from dynamodb_processor_server.rpc.page_cursors import FreshnessTokens
from dynamodb_processor_server.rpc.prepared_queries import QueryPreparer
from dynamodb_processor_server.rpc.services.batch_gets import BatchGets
from dynamodb_processor_server.rpc.services.cached_gets import CachedGets
from tests.unit.cache.model import DEVICES, Model

_T = TypeVar("_T")

_TABLE: Final = "readings"
_MAX_BYTES: Final = 1_000_000
# Of so many versions of an item one is its absence.
_REMOVED: Final = 3
_RULE: Final = RowRule(parse_expression("version >= 0", {}), as_filter=True)
_CALLER, _RULED_CALLER = (
    Principal("k", name, frozenset({"reader"}), (Grant("*", rule=rule),), "default")
    for name, rule in (("reports", None), ("ruled", _RULE))
)


@dataclass(frozen=True, slots=True)
class Get:
    """A batch of items: those of some devices, in one shape, for one caller."""

    devices: tuple[str, ...]
    projection: tuple[str, ...] = ()
    caller: Principal = _CALLER

    def refuses(self, mode: CacheMode) -> bool:
        """Return whether the caller may not use a mode: it would tell what a row rule hides."""
        return self.caller is _RULED_CALLER and mode is CacheMode.ONLY_IF_CACHED


_PROJECTION: Final = ("version", "began")
GETS: Final = (
    Get(("d",)),
    Get(("d",), _PROJECTION),
    Get(("d", "e")),
    Get(("d",), caller=_RULED_CALLER),
    Get(("e",)),
    Get(DEVICES, _PROJECTION),
)


@dataclass(frozen=True, slots=True)
class GetAnswer:
    """The answer of a get.

    `versions` are those of the items that it has, by device, None for an item that is absent; and
    `began` when the reads of some began. An item without such a time is that of a stream record.
    """

    status: str
    versions: Mapping[str, int | None]
    began: Mapping[str, float]
    token: str


def is_removed(version: int) -> bool:
    """Return whether a version of an item is its absence."""
    return version % _REMOVED == 1


def stored_item(device: str, version: int) -> WireItem | None:
    """Return a version of the item of a device, as it is in the table and in stream records."""
    if is_removed(version):
        return None
    item = {"device": {"S": device}, "seq": {"N": "1"}, "level": {"S": device}}
    return {**item, "version": {"N": str(version)}}


class ClockedItems:
    """The items of DynamoDB as a replica reads them whose clock is `fast` by so many seconds.

    Eventual reads lag by `longest_lag` seconds at most.
    """

    def __init__(self, model: Model, fast: float, longest_lag: float) -> None:
        self._model = model
        self._fast = fast
        self._longest_lag = longest_lag

    async def get_items(
        self, request: BatchGetRequest, options: ReadOptions, caller: Caller
    ) -> BatchGetResult:
        """Read items; each has the time at which its read began."""
        devices = [key["device"]["S"] for key in request.keys]
        lag = 0.0 if request.consistent else self._longest_lag
        began, versions = await self._model.look(devices, lag, options.hard_deadline)
        paths, items = requested_paths(request.request), {}
        for index, device in enumerate(devices):
            item = stored_item(device, versions[device])
            if item is not None:
                item = {**item, "began": {"N": f"{began:.9f}".rstrip("0").rstrip(".")}}
                item = project(item, paths) if paths else item
            items[index] = item
        usage = Usage(len(items), 0.5 * len(items), 1)
        return BatchGetResult(items, usage, began + self._fast)


@dataclass(frozen=True, slots=True)
class _Catalog:
    """A catalog of one table, which has been described."""

    described: Table
    version: int = 1

    async def table(self, name: str) -> Table:
        """Return the table."""
        return self.described


class _Planning:
    """Planning, of which nobody is charged."""

    def run(self, principal: Principal, work: Callable[[], _T]) -> _T:
        """Run work at once."""
        return work()


@dataclass(frozen=True, slots=True)
class _Context:
    """gRPC's context of a call that has so many seconds."""

    seconds: float | None

    def time_remaining(self) -> float | None:
        """Return the time that is left."""
        return self.seconds


class ItemService:
    """Answers `BatchGetItems` of one replica, with `cache` in front of `backend`."""

    def __init__(
        self,
        backend: ItemReader,
        table: Table,
        cache: ItemCache,
        sharing: ItemSharing | None,
        tokens: FreshnessTokens,
        coalescing_timeout: float,
    ) -> None:
        catalog: Any = _Catalog(table)
        planning: Any = _Planning()
        preparer = QueryPreparer(catalog, planning)
        self._reader = CachingItemReader(backend, cache, coalescing_timeout, sharing)
        self._limits = CallLimits(CallRateLimits({}), ReadUnitLimits({}), {_CALLER.rate_class})
        self._gets = BatchGets(
            preparer,
            BoundedBatches(self._reader, _MAX_BYTES, cached=self._reader),
            CachedGets(catalog, cache, tokens, _MAX_BYTES, _MAX_BYTES),
            tokens,
            self._limits,
            CallBounds(),
        )

    async def get(
        self,
        get: Get,
        policy: CachePolicy,
        bounds: RequestedFreshness,
        seconds: float | None = None,
    ) -> GetAnswer:
        """Answer a get; `seconds` are left to its caller. Raises as `ItemReader`."""
        call = Call("BatchGetItems", 0.0)
        call.authenticated(get.caller, None, None)
        context: Any = _Context(seconds)
        call.context, call.table = context, _TABLE
        request = _request(get, policy, bounds)
        answer = await self._gets.cached.answer(request, call, self._limits)
        if answer is None:
            response = await self._gets.read(request, call)
        else:
            response = BatchGetItemsResponse.FromString(answer)
        return _answer(get, response, call)

    async def close(self) -> None:
        """End the reads that nobody waits for."""
        await self._reader.close()


def _request(get: Get, policy: CachePolicy, bounds: RequestedFreshness) -> BatchGetItemsRequest:
    request = BatchGetItemsRequest(table=_TABLE, projection=get.projection)
    for device in get.devices:
        attributes = request.keys.add().attributes
        attributes["device"].s, attributes["seq"].n = device, "1"
    cache = request.cache
    cache.mode = query_pb2.CacheMode.Value(f"CACHE_MODE_{policy.mode.name}")
    if policy.max_staleness is not None:
        cache.max_staleness.FromNanoseconds(round(policy.max_staleness * 1e9))
    if bounds.not_before is not None:
        cache.not_before.FromNanoseconds(round(bounds.not_before * 1e9))
    cache.not_before_token = SEPARATOR.join(bounds.tokens)
    return request


def _answer(get: Get, response: BatchGetItemsResponse, call: Call) -> GetAnswer:
    versions: dict[str, int | None] = {}
    began: dict[str, float] = {}
    for device, result in zip(get.devices, response.results, strict=True):
        if result.HasField("missing_key"):
            versions[device] = None
        elif result.HasField("item"):
            attributes = result.item.attributes
            versions[device] = int(attributes["version"].n)
            if "began" in attributes:
                began[device] = float(attributes["began"].n)
    return GetAnswer(str(call.cache), versions, began, response.freshness_token)
