"""Tracks the shards of one stream: which to read, in which order, and from which record.

DynamoDB closes shards and continues them in child shards as the table's partitions split and age
(the DynamoDB developer guide, "Change data capture for DynamoDB Streams"). This module does no I/O.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import Final, Self, TypeAlias

# Progress in a shard that is no record's sequence number.
_FIRST: Final = "first"  # nothing was read; the first record is next
_ENDED: Final = "ended"
_AWAITED: Final = "awaited"  # ended, and its children are not listed yet

#: How far shards were read, by shard ID: after the record with a sequence number, or one of the
#: words above. None is for a shard without a record since its reading started at the latest one:
#: only the time finds its cursor again. Replicas of older versions ignore a checkpoint with None.
Progress: TypeAlias = Mapping[str, str | None]


class Start(Enum):
    """The record with which the reading of a shard starts; the names are DynamoDB's."""

    LATEST = "LATEST"
    TRIM_HORIZON = "TRIM_HORIZON"
    AT_TIMESTAMP = "AT_TIMESTAMP"


@dataclass(frozen=True, slots=True)
class Resumption:
    """The progress from which a consumer continues another one's work.

    Attributes:
        progress: How far each shard was read.
        processed_until: The time up to which every write has been processed, by the consumer's
            clock.
        since: The same time in seconds since the epoch, by the clock of this machine.
    """

    progress: Progress
    processed_until: float
    since: float


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard as DynamoDB describes it. A `closed` shard gets no more records."""

    shard_id: str
    parent: str | None
    closed: bool


@dataclass(slots=True)
class ShardCursor:
    """How far a shard has been read. Times are of the consumer's clock.

    Attributes:
        shard_id: The shard.
        start: The record with which its reading started.
        read_until: The time up to which every write is known to have been processed.
        due: When to read next.
        iterator: DynamoDB's iterator for the next read, None to request a new one.
        sequence: The sequence number of the last processed record, None before the first.
        since: The time of the first record for start AT_TIMESTAMP, in seconds since the epoch by
            the clock of this machine.
        failures: The number of failed requests in a row.
        established: Whether the shard was read at least once.
    """

    shard_id: str
    start: Start
    read_until: float
    due: float = -inf
    iterator: str | None = None
    sequence: str | None = None
    since: float = 0.0
    failures: int = 0
    established: bool = False

    @property
    def can_resume(self) -> bool:
        """Whether a new iterator can start with the record at which the last one stopped.

        Only the record that was the latest at some earlier time cannot be found again.
        """
        return self.sequence is not None or self.start is not Start.LATEST or not self.established


class Shards:
    """The shards of a stream that is consumed from now on; earlier writes do not matter.

    Open shards are read from their latest record, shards that appear later from their first. A
    shard is read when its parent has been read to its end.
    """

    def __init__(self, found: Iterable[Shard], now: float) -> None:
        self._began = now
        self._parents: dict[str, str | None] = {}
        self._cursors: dict[str, ShardCursor] = {}
        self._finished: dict[str, float] = {}  # shard -> the time until which it was read
        self._childless: set[str] = set()  # finished since the start, children not listed yet
        self._leaves: set[str] = set()  # finished before the start, children not listed yet
        found = list(found)
        open_ones = {shard.shard_id for shard in found if not shard.closed}
        for shard in found:
            self._parents[shard.shard_id] = shard.parent
            if shard.closed:
                self._finished[shard.shard_id] = now
            else:
                # The parent is not read yet, and every record of its child comes after it.
                start = Start.TRIM_HORIZON if shard.parent in open_ones else Start.LATEST
                self._cursors[shard.shard_id] = ShardCursor(shard.shard_id, start, now)
        self._note_leaves(found)

    @classmethod
    def resume(cls, found: Iterable[Shard], resumption: Resumption) -> Self:
        """Return the shards as they are now, to be read from a checkpoint on.

        Shards that no longer exist are read all the same: the read fails and so reports that their
        unread records are lost.
        """
        found = list(found)
        parents = {shard.shard_id: shard.parent for shard in found}
        until = resumption.processed_until
        shards = cls((), until)
        for shard_id, state in resumption.progress.items():
            shards._parents[shard_id] = parents.get(shard_id)
            if state in {_ENDED, _AWAITED}:
                shards._finished[shard_id] = until
            else:
                start = Start.AT_TIMESTAMP if state is None else Start.TRIM_HORIZON
                sequence = None if state == _FIRST else state
                cursor = ShardCursor(
                    shard_id, start, until, sequence=sequence, since=resumption.since
                )
                shards._cursors[shard_id] = cursor
            if state == _AWAITED:
                shards._childless.add(shard_id)
        shards.update(found)
        shards._note_leaves(found)
        return shards

    @property
    def progress(self) -> dict[str, str | None]:
        """How far each shard was read, for `resume`. It counts once the shards are established."""
        states: dict[str, str | None] = {}
        for cursor in self._cursors.values():
            begun = None if cursor.start is not Start.TRIM_HORIZON else _FIRST
            states[cursor.shard_id] = cursor.sequence or begun
        for shard_id in self._finished:
            states[shard_id] = _AWAITED if shard_id in self._childless else _ENDED
        return states

    @property
    def childless(self) -> frozenset[str]:
        """The shards that were read to their end and whose children are not listed yet."""
        return frozenset(self._childless)

    @property
    def may_miss_some(self) -> bool:
        """Whether a shard that ended has no listed children: they may have records by now.

        Such shards of the time before the start do not make the shards `incomplete`. Should one
        never get children, nothing but the certainty is missing.
        """
        return bool(self._childless or self._leaves)

    def _note_leaves(self, found: Collection[Shard]) -> None:
        parents = {shard.parent for shard in found}
        ended = {shard.shard_id for shard in found} & self._finished.keys()
        self._leaves = ended - parents - self._childless

    def update(self, found: Iterable[Shard]) -> None:
        """Add the shards that are new in a full listing, and forget those that no longer exist."""
        found = list(found)
        self.add(found)
        kept = {shard.shard_id for shard in found} | self._childless
        for gone in self._finished.keys() - kept:
            del self._finished[gone], self._parents[gone]
            self._leaves.discard(gone)

    def add(self, found: Collection[Shard]) -> None:
        """Add the shards that are new among some of the stream's."""
        for shard in found:
            if shard.shard_id in self._parents:
                continue
            self._parents[shard.shard_id] = shard.parent
            until = self._finished.get(shard.parent or "", self.read_until)
            self._cursors[shard.shard_id] = ShardCursor(shard.shard_id, Start.TRIM_HORIZON, until)
        parents = {shard.parent for shard in found if shard.parent is not None}
        self._childless -= parents
        self._leaves -= parents

    def finish(self, cursor: ShardCursor) -> None:
        """Record that a shard was read to its end; its children are next."""
        del self._cursors[cursor.shard_id]
        self._finished[cursor.shard_id] = cursor.read_until
        children = [
            c for c in self._cursors.values() if self._parents[c.shard_id] == cursor.shard_id
        ]
        for child in children:
            child.read_until = cursor.read_until
        if not children:
            self._childless.add(cursor.shard_id)

    def readable(self) -> Iterator[ShardCursor]:
        """Yield the cursors of shards whose parent is read to its end or no longer exists."""
        return (c for c in self._cursors.values() if self._parents[c.shard_id] not in self._cursors)

    @property
    def incomplete(self) -> bool:
        """Whether shards are missing: the children of a shard that ended, or any open shard."""
        return bool(self._childless) or not self._cursors

    @property
    def established(self) -> bool:
        """Whether all shards are known and each with start LATEST was read at least once.

        A stream without open shards does not count: it may have been disabled.
        """
        latest = (c for c in self._cursors.values() if c.start is Start.LATEST)
        return not self.incomplete and all(cursor.established for cursor in latest)

    @property
    def read_until(self) -> float:
        """The time up to which every write is known to have been processed.

        It does not advance while shards are missing: a stream without an open shard has no records.
        """
        reading = [cursor.read_until for cursor in self.readable()]
        ended = [self._finished[shard_id] for shard_id in self._childless]
        return min(reading + ended, default=self._began)
