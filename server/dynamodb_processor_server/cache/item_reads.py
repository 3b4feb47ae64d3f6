"""Reads of single items that several calls share, and that fill the cache."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from math import inf, isfinite
from typing import NamedTuple

from dynamodb_processor_server.batch_reader import BatchGetRequest, BatchGetResult, ItemReader
from dynamodb_processor_server.cache.item_cache import ItemCache
from dynamodb_processor_server.cache.item_entry import ItemContent, ItemKey
from dynamodb_processor_server.cache.item_shapes import ItemShape
from dynamodb_processor_server.cache.redis.invalidation_log import FRESH_SECONDS
from dynamodb_processor_server.errors import DeadlineExceeded, Overloaded
from dynamodb_processor_server.query.expression.values import WireItem
from dynamodb_processor_server.query.planning.row_rule import RowRule
from dynamodb_processor_server.reader import (
    NO_USAGE,
    CacheMode,
    CachePolicy,
    CacheStatus,
    Caller,
    ReadOptions,
    Usage,
)
from dynamodb_processor_server.runtime.concurrency import gather_or_cancel, wait_until
from dynamodb_processor_server.runtime.single_flight import Flight, SingleFlight
from dynamodb_processor_server.snapshot import GenerationSnapshot


class ReadItem(NamedTuple):
    """An item that was read; `content` is None if it cannot be cached, `expires` if it is not."""

    item: WireItem | None
    content: ItemContent | None
    read_at: float
    expires: float | None


class _ReadItems(NamedTuple):
    """The items of one read, by key, and its cost."""

    items: Mapping[ItemKey, ReadItem]
    usage: Usage


class _ItemFlight(Flight[_ReadItems]):
    """A read of some items that callers share; `began` is a time of the event loop."""

    def __init__(self, task: asyncio.Task[_ReadItems], began: float) -> None:
        super().__init__(task)
        self.began = began


@dataclass(slots=True)
class _Wanted:
    """The items that a call has to read, by index, with their keys and snapshots."""

    request: BatchGetRequest
    shape: ItemShape
    keys: Mapping[int, ItemKey]
    snapshots: Mapping[int, GenerationSnapshot]
    in_quarantine: frozenset[int]

    def flight_key(self, index: int) -> Hashable:
        """Return the key of flights that a read of an item may join.

        A request made after quarantine does not join a read that started during it.
        """
        return self.keys[index], self.snapshots[index].generations, index in self.in_quarantine


@dataclass(slots=True)
class Answer:
    """The items of a call so far, with the time at which the oldest cached one was read."""

    rule: RowRule | None
    items: dict[int, WireItem | None] = field(default_factory=dict)
    messages: dict[int, bytes] = field(default_factory=dict)
    read_at: float = inf
    cached_at: float = inf
    expires: float = inf

    def add(self, index: int, found: ReadItem) -> None:
        """Add an item; one that the caller's row rule hides counts as absent."""
        item, content = found.item, found.content
        if item is not None and self.rule is not None and not self.rule.admits(item):
            item = None
        self.items[index] = item
        if item is not None and content is not None and content.message is not None:
            self.messages[index] = content.message
        self.read_at = min(self.read_at, found.read_at)
        self.expires = min(self.expires, -inf if found.expires is None else found.expires)

    def add_cached(self, index: int, found: ReadItem) -> None:
        """Add an item of the cache."""
        self.cached_at = min(self.cached_at, found.read_at)
        self.add(index, found)

    def result(self, usage: Usage, status: CacheStatus, now: float) -> BatchGetResult:
        """Return the result of the call."""
        return BatchGetResult(
            self.items,
            usage,
            min(self.read_at, now),
            self.messages,
            status,
            max(0.0, now - self.cached_at),
            max(0.0, self.expires - now) if isfinite(self.expires) else None,
        )


class ItemReads:
    """Reads items with `items`, and stores them in `cache`.

    Concurrent reads of one item share one read. A caller waits `wait` seconds at most for the read
    of another; then it reads for itself. In the quarantine after an invalidation an item is read
    consistently, where that shows the write, or is not stored.
    """

    def __init__(self, items: ItemReader, cache: ItemCache, wait: float) -> None:
        self._items = items
        self._cache = cache
        self._wait = wait
        self._flights: SingleFlight[Hashable, _ItemFlight] = SingleFlight()

    async def close(self) -> None:
        """End the reads that nobody waits for."""
        await self._flights.close()

    async def read(
        self,
        request: BatchGetRequest,
        shape: ItemShape,
        missing: Mapping[int, ItemKey],
        answer: Answer,
        options: ReadOptions,
        caller: Caller,
        *,
        joins_since: float = -inf,
    ) -> tuple[Usage, bool]:
        """Add items to an answer, read by this call or by others; return the cost of its own read.

        The second value is whether there was one. Only reads that began at `joins_since` or later
        are joined. Items that they did not bring in time are read again: together with other calls
        that waited for the same read, and then alone.
        """
        wanted = self._wanted(request, shape, missing)
        shares, now = options.cache.mode is CacheMode.DEFAULT, asyncio.get_running_loop().time()
        joined = self._flights_to_join(wanted, options.cache, joins_since) if shares else {}
        for flight in joined.values():
            self._flights.join(flight)
        usage, own = NO_USAGE, [index for index in missing if index not in joined]
        try:
            if own:
                read = await self._lead(wanted, own, options, caller, shares=shares)
                usage = read.usage
                _add(answer, missing, own, read)
            late = await self._follow(missing, joined, answer, options)
        finally:
            for index, flight in joined.items():
                self._flights.leave(wanted.flight_key(index), flight)
        if not late:
            return usage, bool(own)
        rest = {index: missing[index] for index in late}
        more, _ = await self.read(
            request,
            shape,
            rest,
            answer,
            options,
            caller,
            joins_since=now if joins_since == -inf else inf,
        )
        return usage + more, True

    def _wanted(
        self, request: BatchGetRequest, shape: ItemShape, missing: Mapping[int, ItemKey]
    ) -> _Wanted:
        """Return the items to read, with the snapshots of their generations."""
        begin, is_past = self._cache.begin, self._cache.is_past_quarantine
        snapshots = {index: begin(shape, request.keys[index]) for index in missing}
        recent = frozenset(
            i for i, taken in snapshots.items() if not is_past(taken, consistent=False)
        )
        return _Wanted(request, shape, missing, snapshots, recent)

    def _flights_to_join(
        self, wanted: _Wanted, policy: CachePolicy, since: float
    ) -> dict[int, _ItemFlight]:
        """Return the reads under way that a call may join, by the index of its item.

        While local generations cannot be trusted, only a read is joined that began after all
        invalidations acknowledged by now were received here.
        """
        now = asyncio.get_running_loop().time()
        not_before = since
        if policy.max_staleness is not None:
            not_before = max(not_before, now - policy.max_staleness)
        if not self._cache.invalidations_up_to_date:
            not_before = max(not_before, now - FRESH_SECONDS)
        found = {index: self._flights.find(wanted.flight_key(index)) for index in wanted.keys}
        return {
            index: flight
            for index, flight in found.items()
            if flight is not None and flight.waiters and flight.began >= not_before
        }

    async def _lead(
        self,
        wanted: _Wanted,
        indexes: list[int],
        options: ReadOptions,
        caller: Caller,
        *,
        shares: bool,
    ) -> _ReadItems:
        """Return the items that this call reads, and that others may wait for if it `shares`.

        The read ends by the call's own deadlines, with the items that it has by then. It goes on
        without the call while others wait for it.
        """
        read = self._read_groups(wanted, indexes, options, caller)
        if not shares:
            return await read
        began = asyncio.get_running_loop().time()
        flight = _ItemFlight(asyncio.create_task(read, name="item flight"), began)
        keys = [wanted.flight_key(index) for index in indexes]
        for key in keys:
            self._flights.start(key, flight)
        self._flights.join(flight)
        try:
            await asyncio.wait((flight.task,))
            return flight.task.result()
        finally:
            self._flights.leave(keys[0], flight)

    async def _read_groups(
        self, wanted: _Wanted, indexes: list[int], options: ReadOptions, caller: Caller
    ) -> _ReadItems:
        """Read items: those in quarantine consistently, where that shows every write."""
        replicated = wanted.request.table.schema.replicated
        strong = [] if replicated else [i for i in indexes if i in wanted.in_quarantine]
        weak = [index for index in indexes if index not in strong]
        groups = [(group, group is strong) for group in (weak, strong) if group]
        reads = [
            self._read_group(wanted, group, options, caller, consistent=consistent)
            for group, consistent in groups
        ]
        if len(reads) == 1:
            return await reads[0]
        answers = await gather_or_cancel(reads)
        items: dict[ItemKey, ReadItem] = {}
        usage = NO_USAGE
        for answer in answers:
            items.update(answer.items)
            usage += answer.usage
        return _ReadItems(items, usage)

    async def _read_group(
        self,
        wanted: _Wanted,
        indexes: list[int],
        options: ReadOptions,
        caller: Caller,
        *,
        consistent: bool,
    ) -> _ReadItems:
        """Read items in one way, and store those that may be stored.

        They are read without the row rule of the caller, which the cache does not know.
        """
        request, cache, shape = wanted.request, self._cache, wanted.shape
        keys = tuple(request.keys[index] for index in indexes)
        result = await self._items.get_items(
            replace(request, keys=keys, consistent=consistent, rule=None), options, caller
        )
        ended = cache.now()
        items: dict[ItemKey, ReadItem] = {}
        for number, item in result.items.items():
            index = indexes[number]
            key, snapshot, expires = wanted.keys[index], wanted.snapshots[index], None
            content = cache.content(shape, item, result.read_at, ended)
            if content is not None and cache.is_past_quarantine(snapshot, consistent=consistent):
                expires = cache.put(shape, key, content, snapshot)
            items[key] = ReadItem(item, content, result.read_at, expires)
        return _ReadItems(items, result.usage)

    async def _follow(
        self,
        keys: Mapping[int, ItemKey],
        joined: Mapping[int, _ItemFlight],
        answer: Answer,
        options: ReadOptions,
    ) -> list[int]:
        """Add the items that reads of other calls bring; return the indexes of the others.

        There are none once this call is late. An error of another call is raised here too, unless
        it is due to that call's own load or deadline.
        """
        now = asyncio.get_running_loop().time
        until = now() + self._wait
        late: list[int] = []
        for index, flight in joined.items():
            deadline = options.soft_deadline if answer.items else options.hard_deadline
            await wait_until(flight.task, min(until, deadline))
            read = _result(flight.task)
            if read is None or keys[index] not in read.items:
                late.append(index)
            else:
                answer.add(index, read.items[keys[index]])
        if late and now() >= options.hard_deadline and not answer.items:
            raise DeadlineExceeded("the deadline passed before anything was read")
        return [] if now() >= options.soft_deadline and answer.items else late


def _add(answer: Answer, keys: Mapping[int, ItemKey], indexes: list[int], read: _ReadItems) -> None:
    for index in indexes:
        if keys[index] in read.items:
            answer.add(index, read.items[keys[index]])


def _result(task: asyncio.Task[_ReadItems]) -> _ReadItems | None:
    """Return the result of another call's read, None if this call has to read for itself."""
    if not task.done() or task.cancelled():
        return None
    try:
        return task.result()
    except (DeadlineExceeded, Overloaded):
        return None
