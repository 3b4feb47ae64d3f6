"""Reads of single items that several calls share, and that fill the cache."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from math import inf, isfinite

from dynamodb_processor_server.batch_reader import BatchGetRequest, BatchGetResult, ItemReader
from dynamodb_processor_server.cache.item_cache import ItemCache
from dynamodb_processor_server.cache.item_entry import ItemKey
from dynamodb_processor_server.cache.item_fill import ItemFill, ReadItem, ReadItems, WantedItems
from dynamodb_processor_server.cache.item_shapes import ItemShape
from dynamodb_processor_server.cache.item_sharing import ItemSharing
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
from dynamodb_processor_server.runtime.concurrency import wait_until
from dynamodb_processor_server.runtime.single_flight import Flight, SingleFlight


class _ItemFlight(Flight[ReadItems]):
    """A read of some items that callers share; `began` is a time of the event loop.

    Its items may be expected to show every write before `shows_until`, in seconds since the epoch.
    """

    def __init__(self, task: asyncio.Task[ReadItems], began: float, shows_until: float) -> None:
        super().__init__(task)
        self.began = began
        self.shows_until = shows_until


@dataclass(slots=True)
class Answer:
    """The items of a call so far, with the time at which the oldest cached one was read.

    `not_read` has the times of all items that the call has not read itself.
    """

    rule: RowRule | None
    items: dict[int, WireItem | None] = field(default_factory=dict)
    messages: dict[int, bytes] = field(default_factory=dict)
    not_read: dict[int, float] = field(default_factory=dict)
    read_at: float = inf
    cached_at: float = inf
    expires: float = inf

    def add(self, index: int, found: ReadItem, *, joined: bool = False) -> None:
        """Add an item; one that the caller's row rule hides counts as absent.

        It is cached, or read by this call, or by another one that this call has `joined`.
        """
        item, content = found.item, found.content
        if item is not None and self.rule is not None and not self.rule.admits(item):
            item = None
        self.items[index] = item
        if item is not None and content is not None and content.message is not None:
            self.messages[index] = content.message
        self.read_at = min(self.read_at, found.read_at)
        if found.is_cached or joined:
            self.not_read[index] = found.read_at
        if found.is_cached:
            self.cached_at = min(self.cached_at, found.read_at)
        self.expires = min(self.expires, -inf if found.expires is None else found.expires)

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
            self.not_read,
        )


class ItemReads:
    """Reads items with `items`, and stores them in `cache`; see `ItemFill`.

    Concurrent reads of one item share one read. A caller waits `wait` seconds at most for the read
    of another; then it reads for itself.
    """

    def __init__(
        self, items: ItemReader, cache: ItemCache, wait: float, sharing: ItemSharing | None
    ) -> None:
        self._fill = ItemFill(items, cache, sharing)
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
    ) -> tuple[Usage, CacheStatus]:
        """Add items to an answer, read by this call or by others; return the cost of its own read.

        The second value is how the items came. Only reads that began at `joins_since` or later
        are joined. Items that they did not bring in time are read again: together with other calls
        that waited for the same read, and then alone.
        """
        wanted = self._wanted(request, shape, missing)
        shares, now = options.cache.mode is CacheMode.DEFAULT, asyncio.get_running_loop().time()
        joined = self._flights_to_join(wanted, options.cache, joins_since) if shares else {}
        for flight in joined.values():
            self._flights.join(flight)
        usage, own = NO_USAGE, [index for index in missing if index not in joined]
        status = CacheStatus.COALESCED
        try:
            if own:
                read = await self._lead(wanted, own, options, caller, shares=shares)
                usage = read.usage
                _add(answer, missing, own, read)
                if not read.is_shared:
                    status = CacheStatus.MISS
                elif not joined:
                    status = CacheStatus.SHARED_HIT
            late = await self._follow(missing, joined, answer, options)
        finally:
            for index, flight in joined.items():
                self._flights.leave(wanted.flight_key(index), flight)
        if not late:
            return usage, status
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
        return usage + more, CacheStatus.MISS

    async def find_shared(
        self,
        request: BatchGetRequest,
        shape: ItemShape,
        missing: Mapping[int, ItemKey],
        answer: Answer,
        policy: CachePolicy,
    ) -> bool:
        """Add items of the cache of all replicas to an answer; return whether it has them all."""
        wanted = self._wanted(request, shape, missing)
        found, _ = await self._fill.find_shared(wanted, list(missing), policy)
        for index, item in found.items():
            answer.add(index, item)
        return len(found) == len(missing)

    def _wanted(
        self, request: BatchGetRequest, shape: ItemShape, missing: Mapping[int, ItemKey]
    ) -> WantedItems:
        """Return the items to read, with the snapshots of their generations."""
        begin, is_past = self._cache.begin, self._cache.is_past_quarantine
        snapshots = {index: begin(shape, request.keys[index]) for index in missing}
        recent = frozenset(
            i for i, taken in snapshots.items() if not is_past(taken, consistent=False)
        )
        return WantedItems(request, shape, missing, snapshots, recent)

    def _flights_to_join(
        self, wanted: WantedItems, policy: CachePolicy, since: float
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
        bound = -inf if policy.not_before is None else policy.not_before
        found = {index: self._flights.find(wanted.flight_key(index)) for index in wanted.keys}
        return {
            index: flight
            for index, flight in found.items()
            if flight is not None and flight.waiters and flight.began >= not_before
            if flight.shows_until >= bound
        }

    async def _lead(
        self,
        wanted: WantedItems,
        indexes: list[int],
        options: ReadOptions,
        caller: Caller,
        *,
        shares: bool,
    ) -> ReadItems:
        """Return the items that this call reads, and that others may wait for if it `shares`.

        The read ends by the call's own deadlines, with the items that it has by then. It goes on
        without the call while others wait for it.
        """
        read = self._fill.read(wanted, indexes, options, caller)
        if not shares:
            return await read
        began, consistent = asyncio.get_running_loop().time(), self._cache.needs_consistent_read
        shown = self._cache.shown_by(self._cache.now(), consistent=consistent(options.cache))
        flight = _ItemFlight(asyncio.create_task(read, name="item flight"), began, shown)
        keys = [wanted.flight_key(index) for index in indexes]
        for key in keys:
            self._flights.start(key, flight)
        self._flights.join(flight)
        try:
            await asyncio.wait((flight.task,))
            return flight.task.result()
        finally:
            self._flights.leave(keys[0], flight)

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
            item = None if read is None else read.items.get(keys[index])
            if item is None or not self._is_acceptable(item, options.cache):
                late.append(index)
            else:
                answer.add(index, item, joined=True)
        if late and now() >= options.hard_deadline and not answer.items:
            raise DeadlineExceeded("the deadline passed before anything was read")
        return [] if now() >= options.soft_deadline and answer.items else late

    def _is_acceptable(self, item: ReadItem, policy: CachePolicy) -> bool:
        """Return whether an item is what a caller wants: one of the shared cache may be too old.

        So may one that was read eventually, when the leader's bound was old enough for that.
        """
        staleness, bound = policy.max_staleness, policy.not_before
        if staleness is not None and self._cache.now() - item.read_at > staleness:
            return False
        return bound is None or (item.content is not None and item.content.shows_until >= bound)


def _add(answer: Answer, keys: Mapping[int, ItemKey], indexes: list[int], read: ReadItems) -> None:
    for index in indexes:
        if keys[index] in read.items:
            answer.add(index, read.items[keys[index]])


def _result(task: asyncio.Task[ReadItems]) -> ReadItems | None:
    """Return the result of another call's read, None if this call has to read for itself."""
    if not task.done() or task.cancelled():
        return None
    try:
        return task.result()
    except (DeadlineExceeded, Overloaded):
        return None
