"""Consumes one table's DynamoDB stream: invalidates pages, and replaces items, after each write."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import astuple
from math import inf
from typing import Final, NoReturn

import structlog

from dynamodb_processor_server.catalog.schema import Table
from dynamodb_processor_server.change_streams.port import (
    Checkpoint,
    Invalidations,
    RecordsLost,
    StreamLocation,
    StreamSource,
)
from dynamodb_processor_server.change_streams.records import (
    StreamRecord,
    affected_partitions,
    item_changes,
)
from dynamodb_processor_server.change_streams.shard_reader import ShardReader
from dynamodb_processor_server.change_streams.shards import Resumption
from dynamodb_processor_server.change_streams.stats import ConsumerStats
from dynamodb_processor_server.query.expression.values import Value
from dynamodb_processor_server.query.planning.tags import Partition
from dynamodb_processor_server.runtime.timing import Clock, PollSettings

_log = structlog.get_logger(__name__)

_RECORDS_AT_ONCE: Final = 100  # then the event loop may run other tasks
_LONGEST_PAUSE: Final = 1.0  # seconds, after which the table's description is read again

# Reasons for invalidating a whole table.
STARTED: Final = "started"  # earlier writes are unknown
LOST: Final = "lost"  # records were trimmed, or the stream is gone
NO_IMAGES: Final = "no_images"  # a record does not show which partitions it affects
TAKEN_OVER: Final = "taken_over"  # the last consumer's checkpoint cannot be continued from
BEHIND: Final = "behind"  # writes of the last `max_lag` seconds are not all known


class StreamConsumer:
    """Invalidates the pages and items that the records of one table's stream affect.

    It invalidates the whole table whenever it cannot know every write: when it starts, when records
    are lost, and every `max_lag` seconds as long as its lag is larger than that or the table has no
    stream. It then continues with the latest records, as earlier ones no longer matter.

    Args:
        table: Returns the table as the catalog has it now, None while it is not described.
        source: Reads streams.
        invalidations: Receives the invalidations.
        poll_settings: How often to read, and the largest lag.
        clock: Clock, sleep and random numbers.
        resume: The checkpoint of another consumer from which this one continues; None for the
            first.
        stats: The counters to update.
    """

    def __init__(
        self,
        table: Callable[[], Table | None],
        source: StreamSource,
        invalidations: Invalidations,
        poll_settings: PollSettings,
        clock: Clock | None = None,
        *,
        resume: Checkpoint | None = None,
        stats: ConsumerStats | None = None,
    ) -> None:
        self.stats = stats or ConsumerStats()
        self._find_table = table
        self._source = source
        self._invalidations = invalidations
        self._poll_settings = poll_settings
        self._clock = clock or Clock()
        self._table: Table | None = None
        self._reader: ShardReader | None = None
        self._started = False
        self._restarts = 0
        self._pending_invalidation_reason: str | None = None
        self._resume = resume
        self._resumed = False
        self._processed_until = self._invalidated_at = self._clock.now()
        self._resumption: Resumption | None = None
        if resume is not None:
            # The other consumer's lag, plus the time since during which no consumer ran.
            lag = max(0.0, (resume.max_lag or poll_settings.max_lag) - resume.valid_for)
            self._processed_until -= lag
            self._invalidated_at = -inf
            since = self._clock.wall() - lag
            self._resumption = Resumption(resume.progress, self._processed_until, since)

    @property
    def lag(self) -> float:
        """Seconds since the time up to which every write is known to be processed."""
        return self._clock.now() - self._processed_until

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The progress from which another consumer can continue, None while there is none."""
        progress = self._reader.progress if self._reader and self._started else None
        if self._table is None or progress is None:
            return None
        max_lag = self._poll_settings.max_lag
        return Checkpoint(_fingerprint(self._table), progress, max_lag - self.lag, max_lag)

    async def run(self) -> NoReturn:
        """Consume the stream until cancelled."""
        while True:
            for step in (self._poll_once, self._enforce_max_lag):
                try:
                    await step()
                except Exception:  # noqa: BLE001 - a defect must not end invalidation
                    _log.exception("stream_follower_failed", table=self._name)
                    self._restart_after_loss()
            await self._clock.sleep(self._pause())

    @property
    def _name(self) -> str:
        return self._table.name if self._table else ""

    async def _poll_once(self) -> None:
        table = self._find_table()
        if table is None:
            await self._stop_reading()
        elif self._table is None or table.schema != self._table.schema:
            self._start_reading(table)
        else:
            self._table = table
        if self._reader is None:
            return
        try:
            await self._reader.poll()
        except RecordsLost as error:
            _log.warning("stream_lost", table=self._name, reason=str(error))
            self._restart_after_loss()
            return
        if not self._reader.established:
            return
        if not self._started:
            if not self._resumed:
                await self._invalidate_table(STARTED)
            self._started = True
            self._restarts = 0
            _log.info("stream_followed", table=self._name, resumed=self._resumed)
        if self._reader.read_until > self._processed_until:
            self._processed_until = self._reader.read_until
            if not self._reader.may_miss_shards:
                # Of writes that were finished later, records may have appeared after the read.
                self._note_progress(self._processed_until - self._poll_settings.delay)

    def _start_reading(self, table: Table) -> None:
        """Start with a table whose description is new or has changed."""
        self._table = table
        resume, self._resume = self._resume, None
        if resume is None:
            self._restart()
        elif resume.fingerprint == _fingerprint(table):
            self._restart(self._resumption)
        else:
            self._pending_invalidation_reason = TAKEN_OVER
            self._restart()
        if self._reader is None:
            _log.error("stream_missing", table=table.name, dynamodb_table=table.schema.name)

    async def _stop_reading(self) -> None:
        """Stop reading for a table that is not described.

        No page of it is requested until it is described again. The pages that are cached now must
        not be served then.
        """
        if self._table is not None:
            await self._invalidate_table(LOST)
            self._table = None
            self._restart()

    def _restart(self, resumption: Resumption | None = None) -> None:
        self._started = False
        self._resumed = resumption is not None
        stream = StreamLocation.of(self._table) if self._table else None
        self._reader = None
        if stream is not None:
            self._reader = ShardReader(
                self._source,
                stream,
                self._handle_records,
                self._note_failure,
                self._poll_settings,
                self._clock,
                resumption,
            )

    def _restart_after_loss(self) -> None:
        """Start again after records were lost."""
        if self._started:  # otherwise the start invalidates the table in any case
            self._pending_invalidation_reason = LOST
        elif self._resumed:  # pages have been served for the lag of two consumers already
            self._pending_invalidation_reason = TAKEN_OVER
        self._restarts += 1
        self._restart()

    async def _enforce_max_lag(self) -> None:
        """Invalidate the table before a page of unknown validity is older than `max_lag`."""
        now = self._clock.now()
        unknown_for = now - max(self._processed_until, self._invalidated_at)
        if unknown_for > self._poll_settings.max_lag:
            self._pending_invalidation_reason = BEHIND
            if self._started:
                _log.warning("stream_behind", table=self._name, seconds=round(self.lag, 1))
                self._restart()
        if self._pending_invalidation_reason is not None:
            await self._invalidate_table(self._pending_invalidation_reason)
            self._pending_invalidation_reason = None

    def _pause(self) -> float:
        if self._reader is None:
            return _LONGEST_PAUSE
        if self._restarts and not self._started:
            return self._clock.backoff(self._restarts)
        return min(_LONGEST_PAUSE, max(0.0, self._reader.due - self._clock.now()))

    async def _handle_records(self, records: Sequence[StreamRecord]) -> None:
        table = self._table
        assert table is not None, "only a table's stream is read"
        found: dict[tuple[str | None, tuple[Value, ...]], Partition] = {}
        for number, record in enumerate(records, 1):
            if not record.has_images:
                if not self.stats.table_invalidations[NO_IMAGES]:
                    _log.warning("stream_without_images", table=self._name)
                await self._invalidate_table(NO_IMAGES)
                break
            for path, values in affected_partitions(table.schema, record):
                found[path.index, values] = (path, values)
            if number % _RECORDS_AT_ONCE == 0:
                await asyncio.sleep(0)
        else:
            changes = item_changes(table.schema, records)
            await self._invalidations.invalidate_partitions(table, found.values(), changes)
        self.stats.count(records)

    async def _invalidate_table(self, reason: str) -> None:
        now = self._clock.now()
        if self._table is not None:
            await self._invalidations.invalidate_table(self._table)
            self.stats.table_invalidations[reason] += 1
            self._note_progress(now)
        self._invalidated_at = now

    def _note_progress(self, until: float) -> None:
        """Report that the writes that were finished before a time have been invalidated."""
        if self._table is not None:
            age = self._clock.now() - until
            self._invalidations.note_progress(self._table, self._clock.wall() - age)

    def _note_failure(self, error: Exception, in_a_row: int) -> None:
        self.stats.failures += 1
        if in_a_row == 1:
            _log.warning("stream_not_read", table=self._name, reason=str(error))


def _fingerprint(table: Table) -> str:
    """Return a digest of a table's stream and of the keys that name its records' partitions."""
    schema = table.schema
    keys = [[path.label, [[a.name, a.type] for a in path.key.attributes]] for path in schema.paths]
    text = json.dumps([astuple(schema.identity), schema.stream_arn, sorted(keys)])
    return hashlib.sha256(text.encode()).hexdigest()[:32]
