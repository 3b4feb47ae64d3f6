"""Follows one table's stream, so that what is written there invalidates what is cached here."""

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
from dynamodb_processor_server.change_streams.records import StreamRecord, affected_partitions
from dynamodb_processor_server.change_streams.shard_reader import ShardReader
from dynamodb_processor_server.change_streams.stats import ConsumerStats
from dynamodb_processor_server.query.expression.values import Value
from dynamodb_processor_server.query.planning.tags import Partition
from dynamodb_processor_server.runtime.timing import Clock, PollSettings

_log = structlog.get_logger(__name__)

_RECORDS_AT_ONCE: Final = 100  # then the event loop may see to others
_LONGEST_PAUSE: Final = 1.0  # seconds, after which the table is looked at again

# Why a whole table is invalidated.
STARTED: Final = "started"  # whatever was written before is unknown
LOST: Final = "lost"  # records were trimmed, or the stream is gone
NO_IMAGES: Final = "no_images"  # a record does not show which partitions it touched
TAKEN_OVER: Final = "taken_over"  # where the last follower stopped is not known
BEHIND: Final = "behind"  # not everything written in the last `max_lag` seconds is known


class StreamConsumer:
    """Invalidates what the records of one table's stream touch.

    Whenever it cannot say what was written, it invalidates the whole table: when it starts, when
    records are lost, and every `max_lag` seconds as long as it is further behind than that or the
    table has no stream. It then goes on from the latest records, as those before no longer matter.

    Args:
        table: Gives the table as the catalog has it now, None while it is not described.
        source: Reads streams.
        invalidations: What to tell.
        pace: How often to read, and how far behind is too far.
        timing: Clock, sleep and random.
        resume: Where another follower stood, from which this one goes on; None for the first.
        tally: What to count in.
    """

    def __init__(
        self,
        table: Callable[[], Table | None],
        source: StreamSource,
        invalidations: Invalidations,
        pace: PollSettings,
        timing: Clock | None = None,
        *,
        resume: Checkpoint | None = None,
        tally: ConsumerStats | None = None,
    ) -> None:
        self.tally = tally or ConsumerStats()
        self._find_table = table
        self._source = source
        self._invalidations = invalidations
        self._pace = pace
        self._timing = timing or Clock()
        self._table: Table | None = None
        self._reading: ShardReader | None = None
        self._begun = False
        self._restarts = 0
        self._pending_invalidation_reason: str | None = (
            None  # why the table has to be moved, if it has
        )
        self._resume = resume
        self._resumed = False
        self._stood_at = self._moved_at = self._timing.clock()
        if resume is not None:
            # As far behind as the other one was, and for as long as nobody has followed since.
            self._stood_at -= max(0.0, pace.max_lag - resume.valid_for)
            self._moved_at = -inf

    @property
    def behind(self) -> float:
        """For how many seconds it has not been sure to know everything that was written."""
        return self._timing.clock() - self._stood_at

    @property
    def checkpoint(self) -> Checkpoint | None:
        """Where it stands, None while it cannot say."""
        places = self._reading.places if self._reading and self._begun else None
        if self._table is None or places is None:
            return None
        return Checkpoint(_subject(self._table), places, self._pace.max_lag - self.behind)

    async def follow(self) -> NoReturn:
        """Follow until cancelled."""
        while True:
            for step in (self._poll_once, self._guard):
                try:
                    await step()
                except Exception:  # noqa: BLE001 - a defect must not leave the cache alone
                    _log.exception("stream_follower_failed", table=self._name)
                    self._lose()
            await self._timing.sleep(self._pause())

    @property
    def _name(self) -> str:
        return self._table.name if self._table else ""

    async def _poll_once(self) -> None:
        table = self._find_table()
        if table is None:
            await self._leave()
        elif self._table is None or table.schema != self._table.schema:
            self._take(table)
        else:
            self._table = table
        if self._reading is None:
            return
        try:
            await self._reading.turn()
        except RecordsLost as error:
            _log.warning("stream_lost", table=self._name, reason=str(error))
            self._lose()
            return
        if not self._reading.established:
            return
        if not self._begun:
            if not self._resumed:
                await self._invalidate_table(STARTED)
            self._begun = True
            self._restarts = 0
            _log.info("stream_followed", table=self._name, resumed=self._resumed)
        self._stood_at = max(self._stood_at, self._reading.read_until)

    def _take(self, table: Table) -> None:
        """Begin anew with a table as it is described now."""
        self._table = table
        resume, self._resume = self._resume, None
        if resume is None:
            self._restart()
        elif resume.of == _subject(table):
            self._restart(resume)
        else:
            self._pending_invalidation_reason = TAKEN_OVER
            self._restart()
        if self._reading is None:
            _log.error("stream_missing", table=table.name, dynamodb_table=table.schema.name)

    async def _leave(self) -> None:
        """Stop reading for a table that is not described: no page of it is asked for until it is.

        Those that are cached must not be what is found then.
        """
        if self._table is not None:
            await self._invalidate_table(LOST)
            self._table = None
            self._restart()

    def _restart(self, resume: Checkpoint | None = None) -> None:
        self._begun = False
        self._resumed = resume is not None
        stream = StreamLocation.of(self._table) if self._table else None
        self._reading = None
        if stream is not None:
            self._reading = ShardReader(
                self._source,
                stream,
                self._handle_records,
                self._note_failure,
                self._pace,
                self._timing,
                None if resume is None else resume.places,
                self._stood_at,
            )

    def _lose(self) -> None:
        """Begin anew after records were lost."""
        self._pending_invalidation_reason = (
            LOST if self._begun else self._pending_invalidation_reason
        )  # the start moves the table in any case
        self._restarts += 1
        self._restart()

    async def _guard(self) -> None:
        """Let no page be older than `max_lag` of which it is not known whether it still holds."""
        unsure = self._timing.clock() - max(self._stood_at, self._moved_at)
        if unsure > self._pace.max_lag:
            self._pending_invalidation_reason = BEHIND
            if self._begun:
                _log.warning("stream_behind", table=self._name, seconds=round(self.behind, 1))
                self._restart()
        if self._pending_invalidation_reason is not None:
            await self._invalidate_table(self._pending_invalidation_reason)
            self._pending_invalidation_reason = None

    def _pause(self) -> float:
        if self._reading is None:
            return _LONGEST_PAUSE
        if self._restarts and not self._begun:
            return self._timing.backoff(self._restarts)
        return min(_LONGEST_PAUSE, max(0.0, self._reading.due - self._timing.clock()))

    async def _handle_records(self, records: Sequence[StreamRecord]) -> None:
        table = self._table
        assert table is not None, "only a table's stream is read"
        found: dict[tuple[str | None, tuple[Value, ...]], Partition] = {}
        for at, record in enumerate(records, 1):
            if not record.has_images:
                if not self.tally.table_invalidations[NO_IMAGES]:
                    _log.warning("stream_without_images", table=self._name)
                await self._invalidate_table(NO_IMAGES)
                break
            for path, values in affected_partitions(table.schema, record):
                found[path.index, values] = (path, values)
            if at % _RECORDS_AT_ONCE == 0:
                await asyncio.sleep(0)
        else:
            await self._invalidations.invalidate_partitions(table, found.values())
        self.tally.count(records)

    async def _invalidate_table(self, reason: str) -> None:
        now = self._timing.clock()
        if self._table is not None:
            await self._invalidations.invalidate_table(self._table)
            self.tally.table_invalidations[reason] += 1
        self._moved_at = now

    def _note_failure(self, error: Exception, in_a_row: int) -> None:
        self.tally.failures += 1
        if in_a_row == 1:
            _log.warning("stream_not_read", table=self._name, reason=str(error))


def _subject(table: Table) -> str:
    """Return what names a stream and the keys whose partitions its records are told by."""
    schema = table.schema
    keys = [[path.label, [[a.name, a.type] for a in path.key.attributes]] for path in schema.paths]
    text = json.dumps([astuple(schema.identity), schema.stream_arn, sorted(keys)])
    return hashlib.sha256(text.encode()).hexdigest()[:32]
