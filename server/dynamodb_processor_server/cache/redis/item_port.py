"""The port of the shared item cache: items by name, and the writes that a table's stream shows.

It is a part of the store of pages and invalidations (`cache.redis.port`): items have the same
epochs and generations, and a write appends an event to the same log.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

#: The names of an item's tags: the table, the items of its partition, the item.
TagNames: TypeAlias = tuple[bytes, bytes, bytes]


class ItemName(NamedTuple):
    """The name of an item in one shape (projection), and those of its tags."""

    name: bytes
    tags: TagNames


@dataclass(frozen=True, slots=True)
class ItemsRequest:
    """A lookup of items. Times are in seconds.

    Attributes:
        epoch: The epoch that the caller knows.
        items: The items.
        quarantine: A tag that was invalidated more recently than this is not past quarantine.
        lifetime: How long an item that is read now may live, and how long its generations will; 0
            if none will be read, so that no generation is made.
        wants_items: False to get only the generations.
    """

    epoch: bytes
    items: Sequence[ItemName]
    quarantine: float
    lifetime: float
    wants_items: bool = True


class SharedItem(NamedTuple):
    """The result of a lookup for one item.

    Attributes:
        generations: A digest of its tags' current generations.
        past_quarantine: Whether no tag was invalidated within `ItemsRequest.quarantine`.
        has_new_generation: Whether a missing generation was made a moment ago; see `LookupResult`.
        value: The encrypted item, None if there is none under these generations.
    """

    generations: bytes
    past_quarantine: bool
    has_new_generation: bool
    value: bytes | None


@dataclass(frozen=True, slots=True)
class ItemsResult:
    """The result of a lookup: one for each item, and the number of the latest invalidation."""

    sequence: int
    items: Sequence[SharedItem]


class ItemToStore(NamedTuple):
    """An item that was read under a lookup's generations.

    `read_until` is when the read ended, in seconds since the epoch; `lifetime` is in seconds.
    """

    item: ItemName
    generations: bytes
    value: bytes
    read_until: float
    lifetime: float


class RefreshedItem(NamedTuple):
    """The item after a write, in one shape."""

    name: bytes
    value: bytes
    lifetime: float


class SharedWrite(NamedTuple):
    """A write to an item, in the order of its stream.

    Attributes:
        tags: The names of the item's tags.
        other_names: Further names of the item's tag, by other token keys.
        sequence: The sequence number of its stream record.
        replaces_until: Items read before this time do not show the write, in seconds since the
            epoch.
        items: The item after the write, in every shape that may be stored.
    """

    tags: TagNames
    other_names: Sequence[bytes]
    sequence: int
    replaces_until: float
    items: Sequence[RefreshedItem]


class SharedItemStore(Protocol):
    """Stores items under the generations of their tags. Every method raises StoreError."""

    async def lookup(self, request: ItemsRequest) -> ItemsResult:
        """Return the items and their generations; create missing generations.

        Raises EpochChanged as well.
        """
        ...

    async def store(self, epoch: bytes, items: Sequence[ItemToStore]) -> None:
        """Store items whose generations are still current, but none in place of a later read."""
        ...

    async def apply(self, epoch: bytes, writes: Sequence[SharedWrite], event: bytes) -> None:
        """Apply writes in order and append an event to the log, in one step.

        A write gives its item's tag a new generation. An item of current generations that is older
        becomes the new one, under the new generation; so no item is stored that was not there. If
        an item of current generations has the write's sequence number or a later one, the write is
        known already and changes nothing. In another epoch than the caller's no item is refreshed.
        """
        ...
