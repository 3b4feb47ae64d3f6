"""Reads one stream, from its latest records or given places on, until something is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from math import inf
from typing import Final

from dynamodb_processor_server.change_streams.port import (
    IteratorExpired,
    RecordsLost,
    StreamLocation,
    StreamSource,
)
from dynamodb_processor_server.change_streams.records import StreamRecord
from dynamodb_processor_server.change_streams.shards import ShardCursor, Shards
from dynamodb_processor_server.errors import BackendRefused, BackendUnavailable
from dynamodb_processor_server.runtime.concurrency import gather_or_cancel
from dynamodb_processor_server.runtime.timing import Clock, PollSettings

# DynamoDB answers five reads of a shard per second, to all who read it together.
_SHORTEST_POLL: Final = 0.25
# Seconds. A shard that ends has its children looked for at once; this is for a second child that is
# listed later than the first.
_LOOK_FOR_SHARDS: Final = 10.0
_LOOK_AGAIN: Final = 1.0
_CONCURRENT_READS: Final = 16


class ShardReader:
    """Reads every shard of a stream, each in order and after its parent.

    `deal` is given the records of one request at a time; only when it has returned does the shard
    go on behind them. `failed` is told of requests that failed, which are made again. With `places`
    it goes on from there, and all that was written until `since` has been dealt with.
    """

    def __init__(
        self,
        source: StreamSource,
        stream: StreamLocation,
        deal: Callable[[Sequence[StreamRecord]], Awaitable[None]],
        failed: Callable[[Exception, int], None],
        pace: PollSettings,
        timing: Clock,
        places: Mapping[str, str] | None = None,
        since: float = -inf,
    ) -> None:
        self._source = source
        self._stream = stream
        self._deal = deal
        self._failed = failed
        self._pace = pace
        self._timing = timing
        self._places = places
        self._since = since
        self._shards: Shards | None = None
        self._look_at = -inf
        self._look_failures = 0
        self._slots = asyncio.Semaphore(_CONCURRENT_READS)

    @property
    def established(self) -> bool:
        """Whether all that is written from now on will be dealt with."""
        return self._shards is not None and self._shards.established

    @property
    def places(self) -> dict[str, str] | None:
        """How far each shard was read, None where that cannot be said."""
        return None if self._shards is None else self._shards.places

    @property
    def read_until(self) -> float:
        """The time until which everything written since the start has been dealt with."""
        return -inf if self._shards is None else self._shards.read_until

    @property
    def due(self) -> float:
        """When the next turn has something to do."""
        cursors = () if self._shards is None else self._shards.readable()
        return min((self._look_at, *(cursor.due for cursor in cursors)))

    async def turn(self) -> None:
        """Look for shards and read those that are due, each once. Raises RecordsLost."""
        now = self._timing.clock()
        if self._look_at <= now:
            await self._look()
        if self._shards is not None:
            due = [cursor for cursor in self._shards.readable() if cursor.due <= now]
            if due:
                await gather_or_cancel(self._read(cursor, self._shards) for cursor in due)

    async def _look(self) -> None:
        began = self._timing.clock()
        try:
            found = await self._source.shards(self._stream)
        except (BackendUnavailable, BackendRefused) as error:
            self._look_failures += 1
            self._look_at = self._timing.clock() + self._timing.backoff(self._look_failures)
            self._failed(error, self._look_failures)
            return
        self._look_failures = 0
        if self._shards is None and self._places is not None:
            self._shards = Shards.resume(found, self._places, self._since)
        elif self._shards is None:
            self._shards = Shards(found, began)
        else:
            self._shards.learn(found)
        self._look_at = began + (_LOOK_AGAIN if self._shards.incomplete else _LOOK_FOR_SHARDS)

    async def _read(self, cursor: ShardCursor, shards: Shards) -> None:
        async with self._slots:
            began = self._timing.clock()
            try:
                if cursor.iterator is None:
                    cursor.iterator = await self._source.iterator(self._stream, cursor)
                batch = await self._source.records(self._stream, cursor.iterator)
                if batch.records:
                    await self._deal(batch.records)
            except IteratorExpired as error:
                if not cursor.has_place:
                    raise RecordsLost("an iterator expired before its first record") from error
                cursor.iterator = None
                self._put_off(cursor, error)
                return
            except (BackendUnavailable, BackendRefused) as error:
                self._put_off(cursor, error)
                return
        cursor.failures = 0
        cursor.established = True
        cursor.iterator = batch.iterator
        if batch.records:
            cursor.sequence = batch.records[-1].sequence
        if batch.iterator is None:
            # Its children have been written to since it was closed, which was before this read.
            shards.finish(cursor)
            if shards.incomplete:
                self._look_at = began
            return
        if not batch.full:
            cursor.read_until = began
        cursor.due = began + (_SHORTEST_POLL if batch.full else self._pace.poll)

    def _put_off(self, cursor: ShardCursor, error: Exception) -> None:
        cursor.failures += 1
        cursor.due = self._timing.clock() + self._timing.backoff(cursor.failures)
        self._failed(error, cursor.failures)
