"""Cached items that are replaced after writes, by the items in the records of a stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from dynamodb_processor_server.cache.item_cache import ItemCache
from dynamodb_processor_server.cache.item_entry import CachedItem, ItemContent, ItemKey
from dynamodb_processor_server.cache.item_shapes import ItemShape, ItemTimes
from dynamodb_processor_server.catalog.schema import Table
from dynamodb_processor_server.query.expression.values import WireItem
from dynamodb_processor_server.query.planning.tags import Tag

#: Seconds by which a record must have been created after the end of a read, to show a later write
#: than the read. It covers the difference of our clock and DynamoDB's.
RECORD_SKEW: Final = 1.0


@dataclass(frozen=True, slots=True)
class ItemChange:
    """A write to one item, as the stream of its table shows it.

    Attributes:
        key: The item's primary key.
        image: The whole item after the write, None if it was removed.
        sequence: The sequence number of the stream record.
        created: When the record was created, in seconds since the epoch, rounded down to a second.
    """

    key: WireItem
    image: WireItem | None
    sequence: int
    created: float

    def content(self, shape: ItemShape, cache: ItemCache) -> ItemContent | None:
        """Return the item as a shape's entry; None if it cannot be cached."""
        now = cache.now()
        item = None if self.image is None else shape.from_image(self.image, now)
        content = cache.content(shape, item, ItemTimes(self.created, now))
        return None if content is None else replace(content, sequence=self.sequence)

    def follows(self, content: ItemContent) -> bool:
        """Return whether the write is certainly later than a cached item.

        Items of records are compared by their sequence numbers. An item that was read may show the
        write, and later ones, unless the record was created after the read.
        """
        if content.sequence:
            return self.sequence > content.sequence
        return self.created > content.read_until + RECORD_SKEW


@dataclass(frozen=True, slots=True)
class _Replacement:
    """The content of an entry after a write."""

    shape: ItemShape
    key: ItemKey
    entry: CachedItem
    content: ItemContent


@dataclass(frozen=True, slots=True)
class PreparedRefresh:
    """The entries that some writes replace or leave valid, and the tags of the written items."""

    tags: tuple[Tag, ...]
    replacements: tuple[tuple[Tag, _Replacement], ...]


class ItemRefresh:
    """Replaces cached items after writes.

    All entries of a written item end. An entry that the write certainly follows is replaced by one
    with the new item. One that comes from a later record stays: then the stream is read again.
    """

    def __init__(self, cache: ItemCache) -> None:
        self._cache = cache

    def prepare(self, table: Table, changes: Sequence[ItemChange]) -> PreparedRefresh:
        """Return the changes by some writes to a table, before the tags of the items move."""
        cache = self._cache
        shapes = list(cache.shapes.of_table(table))
        tags: list[Tag] = []
        replacements: list[tuple[Tag, _Replacement]] = []
        for change in changes:
            tag = cache.item_tag(table, change.key)
            tags.append(tag)
            for shape in shapes:
                key = shape.key(change.key)
                entry = cache.peek(key)
                content = None if entry is None else _content(change, shape, cache, entry)
                if entry is not None and content is not None:
                    replacements.append((tag, _Replacement(shape, key, entry, content)))
        return PreparedRefresh(tuple(tags), tuple(replacements))

    def commit(self, prepared: PreparedRefresh) -> None:
        """Store the new entries, once the tags of the items have moved.

        An entry keeps the generations of its table and partition. So it is not stored if these were
        invalidated meanwhile: that may be for a later write.
        """
        for tag, new in prepared.replacements:
            self._cache.replace(new.shape, new.key, new.entry, new.content, tag)


def _content(
    change: ItemChange, shape: ItemShape, cache: ItemCache, entry: CachedItem
) -> ItemContent | None:
    """Return the content of an entry after a write; None if it is not known."""
    known = entry.content
    if known.sequence >= change.sequence:
        return known
    return change.content(shape, cache) if change.follows(known) else None
