"""Reads the shards of one stream, from their latest records or a checkpoint, until a loss."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from math import inf
from typing import Final

from dynamodb_processor_server.change_streams.port import (
    IteratorExpired,
    RecordsLost,
    StreamLocation,
    StreamSource,
)
from dynamodb_processor_server.change_streams.records import StreamRecord
from dynamodb_processor_server.change_streams.shards import (
    Progress,
    Resumption,
    ShardCursor,
    Shards,
)
from dynamodb_processor_server.errors import BackendRefused, BackendUnavailable
from dynamodb_processor_server.runtime.concurrency import gather_or_cancel
from dynamodb_processor_server.runtime.timing import Clock, PollSettings

# Seconds. DynamoDB answers five reads of a shard per second, for all of its readers together.
_SHORTEST_POLL: Final = 0.25
# Seconds. The children of a shard are listed at once when it ends; this is for a second child that
# is listed later than the first.
_LISTING_INTERVAL: Final = 10.0
_LISTING_RETRY: Final = 1.0
_CONCURRENT_READS: Final = 16


class ShardReader:
    """Reads every shard of a stream, each in order and after its parent.

    Args:
        source: Reads streams.
        stream: The stream to read.
        handle: Processes the records of one response. The shard's cursor advances only after it
            has returned.
        on_failure: Receives the error of each failed request, which is made again, and the number
            of failures in a row.
        poll_settings: How often to read a shard.
        clock: Clock, sleep and random numbers.
        resume: The progress to continue from; None to start with the latest records.
    """

    def __init__(
        self,
        source: StreamSource,
        stream: StreamLocation,
        handle: Callable[[Sequence[StreamRecord]], Awaitable[None]],
        on_failure: Callable[[Exception, int], None],
        poll_settings: PollSettings,
        clock: Clock,
        resume: Resumption | None = None,
    ) -> None:
        self._source = source
        self._stream = stream
        self._handle = handle
        self._on_failure = on_failure
        self._poll_settings = poll_settings
        self._clock = clock
        self._resume = resume
        self._shards: Shards | None = None
        self._ended: list[str] = []  # shards whose children were not requested yet
        self._next_listing = -inf
        self._next_full_listing = -inf
        self._listing_failures = 0
        self._slots = asyncio.Semaphore(_CONCURRENT_READS)

    @property
    def established(self) -> bool:
        """Whether every write from now on will be processed."""
        return self._shards is not None and self._shards.established

    @property
    def progress(self) -> Progress | None:
        """How far each shard was read, for a checkpoint; None while it is unknown."""
        return None if self._shards is None else self._shards.progress

    @property
    def read_until(self) -> float:
        """The time up to which every write since the start has been processed."""
        return -inf if self._shards is None else self._shards.read_until

    @property
    def may_miss_shards(self) -> bool:
        """Whether there may be shards that are not listed yet."""
        return self._shards is None or self._shards.may_miss_some

    @property
    def due(self) -> float:
        """When the next poll has something to do."""
        cursors = () if self._shards is None else self._shards.readable()
        return min((self._next_listing, *(cursor.due for cursor in cursors)))

    async def poll(self) -> None:
        """List shards if that is due, and read each due shard once. Raises RecordsLost."""
        now = self._clock.now()
        if self._next_listing <= now:
            await self._list_shards()
        if self._shards is not None:
            due = [cursor for cursor in self._shards.readable() if cursor.due <= now]
            if due:
                await gather_or_cancel(self._read(cursor, self._shards) for cursor in due)

    async def _list_shards(self) -> None:
        began = self._clock.now()
        try:
            if not await self._list_children(began):
                await self._list_all(began)
        except (BackendUnavailable, BackendRefused) as error:
            self._listing_failures += 1
            self._next_listing = self._clock.now() + self._clock.backoff(self._listing_failures)
            self._on_failure(error, self._listing_failures)
            return
        self._listing_failures = 0

    async def _list_children(self, now: float) -> bool:
        """Add the children of shards that ended; return False if all shards are to be listed."""
        ended, self._ended = self._ended, []
        shards = self._shards
        if shards is None or not ended or now >= self._next_full_listing:
            return False
        for shard_id in ended:
            shards.add(await self._source.children(self._stream, shard_id))
        self._next_listing = self._next_full_listing
        return not shards.incomplete

    async def _list_all(self, now: float) -> None:
        found = await self._source.shards(self._stream)
        if self._shards is not None:
            self._shards.update(found)
        elif self._resume is not None:
            self._shards = Shards.resume(found, self._resume)
        else:
            self._shards = Shards(found, now)
        pause = _LISTING_RETRY if self._shards.incomplete else _LISTING_INTERVAL
        self._next_listing = now + pause
        self._next_full_listing = now + _LISTING_INTERVAL

    async def _read(self, cursor: ShardCursor, shards: Shards) -> None:
        async with self._slots:
            began = self._clock.now()
            try:
                if cursor.iterator is None:
                    cursor.iterator = await self._source.iterator(self._stream, cursor)
                batch = await self._source.records(self._stream, cursor.iterator)
                if batch.records:
                    await self._handle(batch.records)
            except IteratorExpired as error:
                if not cursor.can_resume:
                    raise RecordsLost("an iterator expired before its first record") from error
                cursor.iterator = None
                self._postpone(cursor, error)
                return
            except (BackendUnavailable, BackendRefused) as error:
                self._postpone(cursor, error)
                return
        cursor.failures = 0
        cursor.established = True
        cursor.iterator = batch.iterator
        if batch.records:
            cursor.sequence = batch.records[-1].sequence
        if batch.iterator is None:
            self._finish(cursor, shards, began)
            return
        if not batch.full:
            cursor.read_until = began
        cursor.due = began + (_SHORTEST_POLL if batch.full else self._poll_settings.interval)

    def _finish(self, cursor: ShardCursor, shards: Shards, now: float) -> None:
        # Writes have gone to its children since it was closed, which was before this read.
        shards.finish(cursor)
        if cursor.shard_id in shards.childless:
            self._ended.append(cursor.shard_id)
        if shards.incomplete:
            self._next_listing = now

    def _postpone(self, cursor: ShardCursor, error: Exception) -> None:
        cursor.failures += 1
        cursor.due = self._clock.now() + self._clock.backoff(cursor.failures)
        self._on_failure(error, cursor.failures)
