"""What following a stream is written in: where its records come from, and what they invalidate."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from dynamodb_processor_server.catalog.schema import Table
from dynamodb_processor_server.change_streams.records import StreamRecord
from dynamodb_processor_server.change_streams.shards import Shard, ShardCursor
from dynamodb_processor_server.query.planning.tags import Partition


class IteratorExpired(Exception):
    """The iterator was not used for 15 minutes; the shard goes on from a new one."""


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
        """Return where a table's stream is, None if it has none."""
        arn = table.schema.stream_arn
        declared = table.config
        return None if arn is None else cls(arn, declared.region, declared.role_arn)


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """What one request for records gave.

    `iterator` reads on; None means that the shard is closed and read to its end. `full` says that
    there was no room for more, so that more may be waiting.
    """

    records: Sequence[StreamRecord]
    iterator: str | None
    full: bool = False


class StreamSource(Protocol):
    """Reads streams. Every method raises BackendUnavailable, BackendRefused and RecordsLost."""

    async def shards(self, stream: StreamLocation) -> Sequence[Shard]:
        """Return all shards that still exist, closed ones included."""
        ...

    async def iterator(self, stream: StreamLocation, cursor: ShardCursor) -> str:
        """Return an iterator that begins where a cursor stands."""
        ...

    async def records(self, stream: StreamLocation, iterator: str) -> RecordBatch:
        """Return the next records of a shard, in order; raise IteratorExpired as well."""
        ...


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a follower stands: what was written before that has been invalidated everywhere.

    `of` says what it follows, `places` how far it has read each shard. In `valid_for` seconds it is
    further behind than a follower may be.
    """

    of: str
    places: Mapping[str, str]
    valid_for: float


#: Where a follower stands of which nothing is known.
NOWHERE: Final = Checkpoint("", {}, 0.0)


class Leases(Protocol):
    """Let one replica at a time follow a table, and keep where it stands.

    Every method raises BackendUnavailable: then it is not known whether it was done. A lease ends
    by itself.
    """

    async def take(self, name: str, holder: str, seconds: float) -> Checkpoint | None:
        """Take a lease. Return where its last holder stood, None if another one has it."""
        ...

    async def renew(
        self, name: str, holder: str, seconds: float, checkpoint: Checkpoint | None
    ) -> bool:
        """Hold a lease for longer and keep a checkpoint, if there is one; False if it was lost."""
        ...

    async def release(self, name: str, holder: str, checkpoint: Checkpoint | None) -> None:
        """Keep a checkpoint and give the lease up, if it is still held."""
        ...


class Invalidations(Protocol):
    """Invalidates cached pages. What is returned from has been done."""

    async def invalidate_partitions(self, table: Table, partitions: Collection[Partition]) -> None:
        """Invalidate what was read of these partitions of the table and its indexes."""
        ...

    async def invalidate_table(self, table: Table) -> None:
        """Invalidate whatever was read of a table."""
        ...
