"""The ports of stream consumption: the source of records, leases, and cache invalidation."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from dynamodb_processor_server.cache.item_refresh import ItemChange
from dynamodb_processor_server.catalog.schema import Table
from dynamodb_processor_server.change_streams.records import StreamRecord
from dynamodb_processor_server.change_streams.shards import Progress, Shard, ShardCursor
from dynamodb_processor_server.query.planning.tags import Partition


class IteratorExpired(Exception):
    """The iterator was not used for 15 minutes; reading the shard continues with a new one."""


class RecordsLost(Exception):
    """Records that were not read are gone, or the stream itself is; the text says which."""


@dataclass(frozen=True, slots=True)
class StreamLocation:
    """A stream and how to reach it; `region` and `role_arn` None mean the process's own."""

    arn: str
    region: str | None = None
    role_arn: str | None = None

    @classmethod
    def of(cls, table: Table) -> StreamLocation | None:
        """Return the location of a table's stream, None if it has none."""
        arn = table.schema.stream_arn
        config = table.config
        return None if arn is None else cls(arn, config.region, config.role_arn)


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """The records of one GetRecords response.

    `iterator` reads the next records; None means that the shard is closed and read to its end.
    `full` says that the response reached its size limit, so that more records may be waiting.
    """

    records: Sequence[StreamRecord]
    iterator: str | None
    full: bool = False


class StreamSource(Protocol):
    """Reads streams. Every method raises BackendUnavailable, BackendRefused and RecordsLost."""

    async def shards(self, stream: StreamLocation) -> Sequence[Shard]:
        """Return all shards that still exist, closed ones included."""
        ...

    async def children(self, stream: StreamLocation, shard_id: str) -> Sequence[Shard]:
        """Return the children of a closed shard.

        Return none where they are not listed yet, or where the endpoint can only list all shards.
        """
        ...

    async def iterator(self, stream: StreamLocation, cursor: ShardCursor) -> str:
        """Return an iterator that begins at a cursor.

        A cursor that starts at a time gets an iterator that begins with an earlier record, because
        clocks differ. RecordsLost says that the endpoint cannot find records by their time.
        """
        ...

    async def records(self, stream: StreamLocation, iterator: str) -> RecordBatch:
        """Return the next records of a shard, in order; raise IteratorExpired as well."""
        ...


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A consumer's progress: pages that earlier writes affect have been invalidated everywhere.

    `fingerprint` identifies the stream and the keys of its table. `progress` says how far each
    shard was read. In `valid_for` seconds the checkpoint is more than `max_lag` seconds behind:
    the setting of the consumer that made it, None if a replica of an older version did.
    """

    fingerprint: str
    progress: Progress
    valid_for: float
    max_lag: float | None = None


#: The checkpoint of a table without a known one.
NO_CHECKPOINT: Final = Checkpoint("", {}, 0.0)


class Leases(Protocol):
    """Let one replica at a time consume a table's stream, and keep its checkpoint.

    Every method raises BackendUnavailable: then it is not known whether the operation was done. A
    lease ends by itself.
    """

    async def acquire(self, name: str, holder: str, seconds: float) -> Checkpoint | None:
        """Acquire a lease. Return its last holder's checkpoint, None if another one holds it."""
        ...

    async def renew(
        self, name: str, holder: str, seconds: float, checkpoint: Checkpoint | None
    ) -> bool:
        """Extend a lease and store a checkpoint, if there is one; return False if it was lost."""
        ...

    async def release(self, name: str, holder: str, checkpoint: Checkpoint | None) -> None:
        """Store a checkpoint and give the lease up, if it is still held."""
        ...


class Invalidations(Protocol):
    """Invalidates cached pages and items. A method returns when that is complete."""

    async def invalidate_partitions(
        self, table: Table, partitions: Collection[Partition], changes: Sequence[ItemChange]
    ) -> None:
        """Invalidate the pages of these partitions of the table and its indexes.

        The items that changed are invalidated as well, or replaced.
        """
        ...

    async def invalidate_table(self, table: Table) -> None:
        """Invalidate every page and item of a table."""
        ...

    def note_progress(self, table: Table, until: float) -> None:
        """Note that the writes to a table that were finished before a time have been invalidated.

        The time is in seconds since the epoch, by the clock of this machine. It counts for the
        paths of the table as it is passed.
        """
        ...
