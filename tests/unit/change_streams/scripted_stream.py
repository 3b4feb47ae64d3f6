"""A scripted stream in memory, and a cache that records its invalidations."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

from dynamodb_processor_server.cache.item_refresh import ItemChange
from dynamodb_processor_server.catalog.schema import Table
from dynamodb_processor_server.change_streams.consumer import StreamConsumer
from dynamodb_processor_server.change_streams.port import (
    Checkpoint,
    IteratorExpired,
    RecordBatch,
    RecordsLost,
    StreamLocation,
)
from dynamodb_processor_server.change_streams.records import Change, StreamRecord
from dynamodb_processor_server.change_streams.shards import Shard, ShardCursor, Start
from dynamodb_processor_server.query.expression.values import WireItem
from dynamodb_processor_server.query.planning.tags import Partition
from dynamodb_processor_server.runtime.timing import Clock, PollSettings
from tests.unit.query.tables import make_table

POLL_SETTINGS: Final = PollSettings(interval=0.5, max_lag=10.0)
ARN: Final = "arn:aws:dynamodb:eu-west-1:1:table/audit-events/stream/1"


def table_with_stream(arn: str | None = ARN, **config: Any) -> Table:
    """Return the table of audit events, with a stream."""
    table = make_table(**config)
    return replace(table, schema=replace(table.schema, stream_arn=arn))


def event(tenant: str, event_id: str, user: str | None = None, at: str = "2026") -> WireItem:
    """Return an item of the table; without a user the item is in no global index."""
    item = {"tenant_id": {"S": tenant}, "event_id": {"S": event_id}, "occurred_at": {"S": at}}
    return item if user is None else item | {"user_id": {"S": user}}


@dataclass
class _Shard:
    parent: str | None
    records: list[StreamRecord] = field(default_factory=list)
    closed: bool = False
    listed: bool = True
    trimmed: int = 0  # how many records are no longer there


class ScriptedStream:
    """A stream with one open shard, `a`, until the script says otherwise.

    `fault` may return an error for an operation and a shard (the stream's own operations name
    none). With `late_latest`, "latest" is the end of the shard when it is first read. `times` are
    those of all records, by the loop's clock. `knows_times` says whether iterators may start at a
    time, `filters` whether the children of a shard can be requested alone.
    """

    def __init__(self, *, batch: int = 1_000, late_latest: bool = False) -> None:
        self.times: dict[str, float] = {}
        self.knows_times = self.filters = True
        self.shards_of_all: dict[str, _Shard] = {"a": _Shard(None)}
        self.fault: Callable[[str, str], Exception | None] = lambda *_: None
        self.asked: list[tuple[str, str]] = []
        self.written = 0
        self._given = 0
        self._batch = batch
        self._late_latest = late_latest
        self._iterators: dict[str, tuple[str, int | None]] = {}

    def write(
        self,
        shard_id: str,
        old: WireItem | None = None,
        new: WireItem | None = None,
        change: Change | None = None,
        created: float = 0.0,
    ) -> StreamRecord:
        """Add the record of a write to an open shard."""
        shard = self.shards_of_all[shard_id]
        assert not shard.closed, "nothing is written to closed shards"
        self.written += 1
        implied: Change = "INSERT" if old is None else "REMOVE" if new is None else "MODIFY"
        record = StreamRecord(f"{self.written:04}", change or implied, old, new, created=created)
        shard.records.append(record)
        self.times[record.sequence] = asyncio.get_running_loop().time()
        return record

    def open(self, *shard_ids: str) -> None:
        """Add open shards without a parent."""
        for shard_id in shard_ids:
            self.shards_of_all[shard_id] = _Shard(None)

    def split(self, shard_id: str, *children: str, listed: bool = True) -> None:
        """Close a shard and add its children."""
        self.shards_of_all[shard_id].closed = True
        for child in children:
            self.shards_of_all[child] = _Shard(shard_id, listed=listed)

    def trim(self, shard_id: str) -> None:
        """Drop the records of a shard."""
        shard = self.shards_of_all[shard_id]
        shard.trimmed = len(shard.records)

    def expire_iterators(self) -> None:
        """Expire all iterators, as DynamoDB does after 15 minutes."""
        self._iterators.clear()

    async def shards(self, stream: StreamLocation) -> Sequence[Shard]:
        """Return the shards that are listed."""
        self._ask("shards", "")
        return [
            Shard(shard_id, shard.parent, shard.closed)
            for shard_id, shard in self.shards_of_all.items()
            if shard.listed
        ]

    async def children(self, stream: StreamLocation, shard_id: str) -> Sequence[Shard]:
        """Return the children of a shard that are listed."""
        if not self.filters:
            return ()
        self._ask("children", shard_id)
        return [
            Shard(name, shard.parent, shard.closed)
            for name, shard in self.shards_of_all.items()
            if shard.listed and shard.parent == shard_id
        ]

    async def iterator(self, stream: StreamLocation, cursor: ShardCursor) -> str:
        """Return an iterator that begins at a cursor."""
        self._ask("iterator", cursor.shard_id)
        shard = self.shards_of_all[cursor.shard_id]
        at: int | None = shard.trimmed
        if cursor.sequence is not None:
            at = [record.sequence for record in shard.records].index(cursor.sequence) + 1
        elif cursor.start is Start.LATEST:
            at = None if self._late_latest else len(shard.records)
        elif cursor.start is Start.AT_TIMESTAMP:
            at = self.index_at(cursor.shard_id, cursor.since)
        return self._iterator(cursor.shard_id, at)

    def index_at(self, shard_id: str, since: float) -> int:
        """Return how many records a shard had before a time, or how many are trimmed."""
        if not self.knows_times:
            raise RecordsLost("the records of a shard cannot be found by their time")
        shard = self.shards_of_all[shard_id]
        times = [self.times[record.sequence] for record in shard.records]
        return max(shard.trimmed, bisect_left(times, since))

    async def records(self, stream: StreamLocation, iterator: str) -> RecordBatch:
        """Return the next records of a shard."""
        if iterator not in self._iterators:
            raise IteratorExpired(iterator)
        shard_id, at = self._iterators[iterator]
        self._ask("records", shard_id)
        shard = self.shards_of_all[shard_id]
        at = len(shard.records) if at is None else at
        if at < shard.trimmed:
            raise RecordsLost("trimmed")
        records = shard.records[at : at + self._batch]
        end = at + len(records)
        at_end = shard.closed and end == len(shard.records)
        next_iterator = None if at_end else self._iterator(shard_id, end)
        return RecordBatch(records, next_iterator, full=len(records) == self._batch)

    def _ask(self, operation: str, shard_id: str) -> None:
        self.asked.append((operation, shard_id))
        error = self.fault(operation, shard_id)
        if error is not None:
            raise error

    def _iterator(self, shard_id: str, at: int | None) -> str:
        self._given += 1
        name = f"{shard_id}/{at}/{self._given}"
        self._iterators[name] = (shard_id, at)
        return name


class RecordingCache:
    """Records invalidations, in order: partitions by `partition_text`, the table as "table".

    `changes` are the items that changed with the partitions.
    `claims` are the times until which writes are said to have been invalidated, each with the
    number of invalidations before it.
    """

    def __init__(self) -> None:
        self.invalidations: list[str] = []
        self.changes: list[ItemChange] = []
        self.claims: list[tuple[float, int]] = []

    async def invalidate_partitions(
        self, table: Table, partitions: Collection[Partition], changes: Sequence[ItemChange]
    ) -> None:
        """Record partitions and changes."""
        self.invalidations += map(partition_text, partitions)
        self.changes += changes

    async def invalidate_table(self, table: Table) -> None:
        """Record a table."""
        self.invalidations.append("table")

    def note_progress(self, table: Table, until: float) -> None:
        """Record a claim."""
        self.claims.append((until, len(self.invalidations)))

    def take(self) -> list[str]:
        """Return the invalidations since the last call."""
        taken, self.invalidations = self.invalidations, []
        return taken


def partition_text(partition: Partition) -> str:
    """Return a partition as text, such as `by_user=u-1`."""
    path, values = partition
    return f"{path.label}={','.join(str(value.data) for value in values)}"


def invalidations_of(tenant: str, *users: str) -> list[str]:
    """Return the invalidations of a write in a tenant's and some users' partitions, sorted."""
    return sorted([f"@table={tenant}", f"by_time={tenant}", *(f"by_user={u}" for u in users)])


class ConsumedStream:
    """A consumer of a scripted stream on a loop whose clock is warped.

    `epoch` is the time of the machine's clock when that of the loop is 0. `resume` is the
    checkpoint of another consumer.
    """

    def __init__(
        self,
        stream: ScriptedStream,
        table: Table | None,
        poll_settings: PollSettings,
        epoch: float = 0.0,
        resume: Checkpoint | None = None,
    ) -> None:
        self.stream = stream
        self.table = table
        self.cache = RecordingCache()
        now = asyncio.get_running_loop().time
        clock = Clock(now, asyncio.sleep, lambda: 0.5, lambda: epoch + now())
        self.consumer = StreamConsumer(
            lambda: self.table, stream, self.cache, poll_settings, clock, resume=resume
        )

    @property
    def table_invalidations(self) -> dict[str, int]:
        """How often the whole table was invalidated, by reason."""
        return dict(self.consumer.stats.table_invalidations)

    async def after(self, seconds: float) -> list[str]:
        """Let time pass and return its invalidations."""
        await asyncio.sleep(seconds)
        return self.cache.take()


@asynccontextmanager
async def consuming(
    stream: ScriptedStream | None = None,
    table: Table | None = None,
    epoch: float = 0.0,
    resume: Checkpoint | None = None,
) -> AsyncIterator[ConsumedStream]:
    """Consume a stream for the time of the `async with`."""
    consumed = ConsumedStream(
        stream or ScriptedStream(), table or table_with_stream(), POLL_SETTINGS, epoch, resume
    )
    task = asyncio.create_task(consumed.consumer.run())
    try:
        yield consumed
    finally:
        task.cancel()
        await asyncio.wait((task,))
