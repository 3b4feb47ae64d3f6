"""The port of the cache of items that replicas share, as the item reader and the stream use it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from dynamodb_processor_server.cache.item_entry import ItemContent
from dynamodb_processor_server.query.planning.tags import Tag

#: Identifies an item in one shape for every replica.
SharedKey: TypeAlias = bytes
#: The tags of an item: of all items of its table, of those of its partition, and its own.
ItemTags: TypeAlias = tuple[Tag, ...]


@dataclass(frozen=True, slots=True)
class ExpiringItem:
    """An item of the shared cache; `expires` is in seconds since the epoch."""

    content: ItemContent
    expires: float


@dataclass(frozen=True, slots=True)
class ItemLookup:
    """Items of one table to look up.

    Attributes:
        keys: The items.
        tags: The tags of each.
        quarantine: Seconds after an invalidation in which eventual reads are not stored.
        oldest: Items read before this time do not count, in seconds since the epoch; inf to accept
            none.
        lifetime: Seconds that an item is stored if it is read, 0 if it will not be read.
    """

    keys: Sequence[SharedKey]
    tags: Sequence[ItemTags]
    quarantine: float
    oldest: float
    lifetime: float


@dataclass(frozen=True, slots=True)
class ItemsFound:
    """The items of a lookup by index, and `fill`, which is needed to store the others."""

    items: Mapping[int, ExpiringItem]
    fill: object


@dataclass(frozen=True, slots=True)
class ItemWrite:
    """A write to one item, as the stream of its table shows it.

    Attributes:
        tags: The tags of the item.
        sequence: The sequence number of the stream record.
        replaces_until: Items read before this time do not show the write, in seconds since the
            epoch.
        contents: The item after the write, in the shapes that are in use.
    """

    tags: ItemTags
    sequence: int
    replaces_until: float
    contents: Mapping[SharedKey, ExpiringItem]


class SharedItems(Protocol):
    """Items that replicas share."""

    async def find(self, lookup: ItemLookup) -> ItemsFound | None:
        """Return the items that are stored, None if Redis cannot be used.

        The caller must have taken its snapshot of the local generations before.
        """

    def store(
        self, fill: object, items: Mapping[int, ExpiringItem], consistent: Collection[int] = ()
    ) -> None:
        """Store items that were read after a lookup; return without waiting.

        The snapshots of local generations must be current and past quarantine. `consistent` are
        those that were read so.
        """

    async def apply_writes(self, writes: Sequence[ItemWrite]) -> None:
        """Refresh the stored items, and supersede all cached ones of the written items.

        Returns when every replica will receive that within `FRESH_SECONDS`. Raises
        BackendUnavailable if that is not certain; it is of this replica.
        """
