"""Two worlds that one tenant must not be able to tell apart: with and without other tenants.

The probes are all requests that the tenant can make. Their responses are kept as text, without the
parts that differ between any two calls: times, and the encrypted content of tokens (not their
length).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Final

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from dynamodb_processor.v1 import query_pb2
from dynamodb_processor.v1.catalog_service_pb2 import GetTableRequest
from dynamodb_processor.v1.query_pb2 import QuerySpec
from dynamodb_processor.v1.query_service_pb2 import (
    BatchGetItemsRequest,
    ExplainQueryRequest,
)
from dynamodb_processor.v1.value_pb2 import Item
from tests.rpc.tenant_requests import at_most, backwards, bounded, key_lists, specs
from tests.support.conditions import WireItem
from tests.support.datasets import Index, Schema
from tests.support.lengths import PATIENCE
from tests.support.running import Service, query_spec, refusal_of

TENANT: Final = "acme"
OTHER: Final = "competitor"
SECRET: Final = "their secret"
_SHARED: Final = ("u-1", "u-2", "u-3")
_TOKENS: Final = ("next_page_token", "resume_token", "freshness_token")
_MOMENTS: Final = ("read_time", "stats.backend_time", "cumulative.backend_time", "cache.age",
                   "cache.expires_in")  # fmt: skip
_MAX_PAGES: Final = 40


def world_schema(table: str) -> Schema:
    """Return a table whose own key has no tenant, with indexes with and without the tenant."""
    return Schema(
        table=table,
        partition="user_id",
        sort="event_id",
        indexes=(
            Index("by_at", True, ("user_id",), ("at",), "KEYS_ONLY"),
            Index("by_kind", False, ("kind",), ("at",), "KEYS_ONLY"),
            Index("by_owner", False, ("tenant_id",), ("at",)),
        ),
        types={"user_id": "S", "event_id": "S", "at": "N", "kind": "S", "tenant_id": "S"},
    )


def world_catalog(table: str) -> dict[str, Any]:
    """Return a catalog that allows everything that rules do not forbid."""
    entry = {"table": table, "allow_scan": True, "required": ["at", "kind", "tenant_id"]}
    return {"tables": {"events": entry}}


def _event(tenant: str, user: str, event_id: str, at: int, note: str) -> WireItem:
    return {
        "tenant_id": {"S": tenant},
        "user_id": {"S": user},
        "event_id": {"S": event_id},
        "at": {"N": str(at)},
        "kind": {"S": "login" if at % 3 else "logout"},
        "note": {"S": note},
    }


def own_items() -> Iterator[WireItem]:
    """Yield the tenant's own items."""
    for user, number in product(_SHARED, range(7)):
        yield _event(TENANT, user, f"e-{number}0", number * 10, "x" * 40)


def others_items() -> Iterator[WireItem]:
    """Yield items before, between and behind the tenant's own, with keys of other lengths.

    They are many, long and large, so that any figure about the read items would reveal them.
    """
    for user, number in product((*_SHARED, "u-other"), range(-2, 70, 3)):
        event_id = f"e-{number:02d}" + "-long" * (2 * number % 60) + "!"
        yield _event(OTHER, user, event_id, number, SECRET * 40)


def hidden_item(number: int) -> WireItem:
    """Return an item of another tenant that lies among the tenant's own."""
    user = _SHARED[number % len(_SHARED)]
    return _event(OTHER, user, f"e-{number % 70:02d}-new", number % 70, SECRET)


@dataclass
class Witness:
    """Sends all requests as one caller, and keeps the responses."""

    service: Service
    key: str
    seen: list[tuple[str, str]] = field(default_factory=list)
    items: int = 0

    async def ask_all(self) -> None:
        """Try every probe."""
        for spec in specs():
            await self._see("explain", self._explain, spec)
            for size, cache in ((2, _BYPASS), (7, _BYPASS), (7, _CACHED), (100, _BYPASS)):
                await self._see(f"pages of {size}", self._read_pages, spec, size, cache)
            await self._see("stream", self._stream, spec, 5)
            await self._see("backwards", self._read_pages, backwards(spec), 6, _BYPASS)
            for up_to in (0, 1, 6, 7, 8):
                await self._see(f"count {up_to}", self._count, spec, up_to)
            await self._see("max", self._read_pages, at_most(spec, 7), 5, _BYPASS)
            await self._see("total", self._read_pages, spec, 7, _CACHED, None, _EXACT)
            await self._see("total", self._stream, spec, 5, None, _EXACT)
            for up_to in (1, 7, 8):
                await self._see("total", self._read_pages, spec, 4, _BYPASS, None, bounded(up_to))
            await self._see("total", self._stream, at_most(spec, 7), 3, None, bounded(9))
            for budget in _BUDGETS[1:]:
                await self._see("budget", self._read_pages, spec, 3, _BYPASS, budget)
                await self._see("budget", self._read_pages, spec, 3, _BYPASS, budget, _EXACT)
                await self._see("budget", self._stream, spec, 3, budget)
                await self._see("budget", self._count, spec, 0, budget)
        for keys, budget in product(key_lists(), _BUDGETS):
            await self._see("get", self._get, keys, budget)
        await self._see("table", self._table)

    async def ask_while_others_write(self, write: Callable[[], Awaitable[None]]) -> None:
        """Send cacheable requests twice or more; there may be a write before each."""
        for spec in (
            query_spec("events", "user_id = 'u-1'"),
            query_spec("events", "kind = 'login' AND at < 30"),
            query_spec("events", "tenant_id = 'acme'"),
            query_spec("events", ""),
        ):
            for number in range(2):
                for mode, name in query_pb2.CacheMode.items():
                    policy = query_pb2.CachePolicy(mode=name)
                    await write()
                    await self._see(f"{mode} {number}", self._read_pages, spec, 7, policy)
                probes: list[tuple[Callable[..., Awaitable[None]], Any]] = [
                    (self._read_pages, (spec, 7, _RECENT)),
                    (self._read_pages, (spec, 4, _CACHED, None, _EXACT)),
                    (self._stream, (spec, 5, None, None, _CACHED)),
                    (self._stream, (spec, 5, None, _EXACT, _CACHED)),
                    (self._count, (spec, 0, None, _CACHED)),
                    (self._count, (spec, 3, None, _CACHED)),
                ]
                for budget in _BUDGETS[1:]:
                    probes.append((self._read_pages, (spec, 3, _CACHED, budget)))
                    probes.append((self._stream, (spec, 3, budget, None, _CACHED)))
                    probes.append((self._count, (spec, 0, budget, _CACHED)))
                for probe, args in probes:
                    await write()
                    await self._see(f"cached {number}", probe, *args)

    async def _see(self, what: str, probe: Callable[..., Awaitable[None]], *args: Any) -> None:
        before = len(self.seen)
        try:
            await probe(*args)
        except grpc.aio.AioRpcError as error:
            refusal = refusal_of(error)
            self._keep(f"{refusal.code} {refusal.message} {_flat(refusal.details)}")
        self.seen[before:] = [(f"{what} {_name(args)}", text) for _, text in self.seen[before:]]

    def _keep(self, seen: Message | str) -> None:
        self.seen.append(("", seen if isinstance(seen, str) else _blanked(seen)))
        self.items += 0 if isinstance(seen, str) else len(getattr(seen, "items", ()))

    async def _read_pages(
        self,
        spec: QuerySpec,
        size: int,
        cache: query_pb2.CachePolicy,
        budget: query_pb2.Budget | None = None,
        total: query_pb2.TotalOptions | None = None,
    ) -> None:
        token = ""
        for _ in range(_MAX_PAGES):
            page = await self.service.query(
                spec,
                key=self.key,
                page_size=size,
                page_token=token,
                cache=cache,
                budget=budget,
                total=total,
            )
            token = page.next_page_token
            self._keep(page)
            if not token:
                return

    async def _stream(
        self,
        spec: QuerySpec,
        size: int,
        budget: query_pb2.Budget | None = None,
        total: query_pb2.TotalOptions | None = None,
        cache: query_pb2.CachePolicy | None = None,
    ) -> None:
        async for message in self.service.stream(
            spec, key=self.key, page_size=size, cache=cache or _BYPASS, budget=budget, total=total
        ):
            self._keep(message)

    async def _count(
        self,
        spec: QuerySpec,
        up_to: int,
        budget: query_pb2.Budget | None = None,
        cache: query_pb2.CachePolicy | None = None,
    ) -> None:
        total = bounded(up_to) if up_to else query_pb2.TotalOptions()
        token = ""
        for _ in range(_MAX_PAGES):
            answer = await self.service.count(
                spec,
                key=self.key,
                total=total,
                budget=budget,
                page_token=token,
                cache=cache or _BYPASS,
            )
            token = answer.next_page_token
            self._keep(answer)
            if not token:
                return

    async def _get(self, keys: Sequence[Item], budget: query_pb2.Budget | None) -> None:
        request = BatchGetItemsRequest(table="events", keys=keys, budget=budget)
        self._keep(
            await self.service.queries.BatchGetItems(
                request, metadata=self._metadata, timeout=PATIENCE
            )
        )

    async def _explain(self, spec: QuerySpec) -> None:
        request = ExplainQueryRequest(query=spec)
        self._keep(
            await self.service.queries.ExplainQuery(
                request, metadata=self._metadata, timeout=PATIENCE
            )
        )

    async def _table(self) -> None:
        request = GetTableRequest(table="events")
        self._keep(await self.service.catalog.GetTable(request, metadata=self._metadata))

    @property
    def _metadata(self) -> tuple[tuple[str, str], ...]:
        return self.service.metadata(self.key)


_BYPASS: Final = query_pb2.CachePolicy(mode=query_pb2.CACHE_MODE_BYPASS)
_CACHED: Final = query_pb2.CachePolicy()
_RECENT: Final = query_pb2.CachePolicy(max_staleness=Duration(seconds=3_600))
_EXACT: Final = query_pb2.TotalOptions(mode=query_pb2.TOTAL_MODE_EXACT)
_BUDGETS: Final[tuple[query_pb2.Budget | None, ...]] = (
    None,
    query_pb2.Budget(max_scanned_items=1),
    query_pb2.Budget(max_read_units=0.5),
)


def _name(args: Sequence[Any]) -> str:
    return _flat(" ".join(map(str, args)))


def _blanked(message: Message) -> str:
    """Return the text and size of a message, without parts that differ between any two calls."""
    copy = type(message)()
    copy.CopyFrom(message)
    for name in _TOKENS:
        if hasattr(copy, name):
            setattr(copy, name, "?" * len(getattr(copy, name)))
    for name in _MOMENTS:
        *above, target = name.split(".")
        holder: Any = copy
        for step in above:
            holder = getattr(holder, step, None)
        if hasattr(holder, target) and holder.HasField(target):
            getattr(holder, target).Clear()  # whether there is one remains
    return f"{copy.ByteSize()} {_flat(copy)}"


def _flat(message: object) -> str:
    return re.sub(r"\s+", " ", str(message))
