"""The shards of one stream: which are to be read, in which order, and from where.

Shards are closed and followed by children as the table's partitions split and age (the DynamoDB
developer guide, "Change data capture for DynamoDB Streams"). Nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import Final, Self

# Places in a shard that are no record's sequence number.
_FIRST: Final = "first"  # nothing of it was read, and its first record is next
_ENDED: Final = "ended"
_AWAITED: Final = "awaited"  # ended, and its children are still to be found


class Start(Enum):
    """Where the reading of a shard begins; the names are DynamoDB's."""

    LATEST = "LATEST"
    TRIM_HORIZON = "TRIM_HORIZON"


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard as DynamoDB describes it. `closed` ones get no more records."""

    shard_id: str
    parent: str | None
    closed: bool


@dataclass(slots=True)
class ShardCursor:
    """How far a shard has been read. Times are of the follower's clock.

    `sequence` is the last record dealt with, None before the first. `read_until` is the time until
    which all that was written is known to have been dealt with. `due` is when to read on.
    `established` says that it was read once, `failures` how many requests have failed in a row.
    """

    shard_id: str
    start: Start
    read_until: float
    due: float = -inf
    iterator: str | None = None
    sequence: str | None = None
    failures: int = 0
    established: bool = False

    @property
    def has_place(self) -> bool:
        """Whether a new iterator could begin where the last one stood.

        Only "latest, as it was then" is a place that cannot be found again.
        """
        return self.sequence is not None or self.start is Start.TRIM_HORIZON or not self.established


class Shards:
    """The shards of a stream that is followed from now on: only what is written from here counts.

    Open shards are read from their latest record, those that appear later from their first. A shard
    is read when its parent has been read to its end.
    """

    def __init__(self, found: Iterable[Shard], now: float) -> None:
        self._began = now
        self._parents: dict[str, str | None] = {}
        self._cursors: dict[str, ShardCursor] = {}
        self._finished: dict[str, float] = {}  # until when they were read
        self._childless: set[str] = set()  # finished while following, and without children yet
        found = list(found)
        open_ones = {shard.shard_id for shard in found if not shard.closed}
        for shard in found:
            self._parents[shard.shard_id] = shard.parent
            if shard.closed:
                self._finished[shard.shard_id] = now
            else:
                # The parent is still to be read, and all of its child comes after that.
                start = Start.TRIM_HORIZON if shard.parent in open_ones else Start.LATEST
                self._cursors[shard.shard_id] = ShardCursor(shard.shard_id, start, now)

    @classmethod
    def resume(cls, found: Iterable[Shard], places: Mapping[str, str], until: float) -> Self:
        """Return the shards as they are now, to be read from `places` on.

        What was written up to `until` has been dealt with. Shards that are gone are to be read all
        the same: that fails, as what was not read of them is lost.
        """
        found = list(found)
        parents = {shard.shard_id: shard.parent for shard in found}
        shards = cls((), until)
        for shard_id, place in places.items():
            shards._parents[shard_id] = parents.get(shard_id)
            if place in {_ENDED, _AWAITED}:
                shards._finished[shard_id] = until
            else:
                sequence = None if place == _FIRST else place
                cursor = ShardCursor(shard_id, Start.TRIM_HORIZON, until, sequence=sequence)
                shards._cursors[shard_id] = cursor
            if place == _AWAITED:
                shards._childless.add(shard_id)
        shards.learn(found)
        return shards

    @property
    def places(self) -> dict[str, str] | None:
        """How far each shard was read, for `resume`.

        None while one that is read from its latest record has had none: that place has no name.
        """
        named = {}
        for cursor in self._cursors.values():
            if cursor.sequence is None and cursor.start is Start.LATEST:
                return None
            named[cursor.shard_id] = cursor.sequence or _FIRST
        for shard_id in self._finished:
            named[shard_id] = _AWAITED if shard_id in self._childless else _ENDED
        return named

    def __len__(self) -> int:
        """The number of shards not read to their end."""
        return len(self._cursors)

    def learn(self, found: Iterable[Shard]) -> None:
        """Take in what shards there are now: add new ones, forget those that are gone."""
        found = list(found)
        for shard in found:
            if shard.shard_id in self._parents:
                continue
            self._parents[shard.shard_id] = shard.parent
            until = self._finished.get(shard.parent or "", self.read_until)
            self._cursors[shard.shard_id] = ShardCursor(shard.shard_id, Start.TRIM_HORIZON, until)
        self._childless -= {shard.parent for shard in found if shard.parent is not None}
        kept = {shard.shard_id for shard in found} | self._childless
        for gone in self._finished.keys() - kept:
            del self._finished[gone], self._parents[gone]

    def finish(self, cursor: ShardCursor) -> None:
        """Note that a shard was read to its end: its children are next."""
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
        """Yield the cursors whose shard's parent is read to its end, or long gone."""
        return (c for c in self._cursors.values() if self._parents[c.shard_id] not in self._cursors)

    @property
    def incomplete(self) -> bool:
        """Whether there are shards still to be found: children of those that ended, or any."""
        return bool(self._childless) or not self._cursors

    @property
    def established(self) -> bool:
        """Whether all shards are known and those read from their latest record were read once.

        A stream without open shards is no stream: it may have been switched off.
        """
        latest = (c for c in self._cursors.values() if c.start is Start.LATEST)
        return not self.incomplete and all(cursor.established for cursor in latest)

    @property
    def read_until(self) -> float:
        """The time until which everything that was written is known to have been dealt with.

        It stands still while shards are missing: a stream without an open shard tells nothing.
        """
        reading = [cursor.read_until for cursor in self.readable()]
        ended = [self._finished[shard_id] for shard_id in self._childless]
        return min(reading + ended, default=self._began)
