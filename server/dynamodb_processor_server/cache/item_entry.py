"""Single items as they are cached."""

from __future__ import annotations

import sys
from collections.abc import Hashable
from dataclasses import dataclass
from math import inf
from typing import ClassVar, Final, TypeAlias

from dynamodb_processor_server.cache.page_store import TableCacheStats
from dynamodb_processor_server.snapshot import Generation

#: Identifies an item for every caller: the number of its shape, then the values of its key.
ItemKey: TypeAlias = tuple[Hashable, ...]

# Bytes beside the messages: the key with its values, the objects, the item's generation and its
# tag, and the entries of three dictionaries, which have room for more. Of 60,000 items with keys of
# 13 to 37 bytes: 810 where ten share a partition, 900 without sort keys, 990 where each is alone.
_ENTRY_OVERHEAD: Final = 1_000


@dataclass(frozen=True, slots=True)
class ItemContent:
    """An item, the same for every caller. Times are in seconds since the epoch.

    Attributes:
        message: The `Item` message for callers, None if there is no such item.
        source: The `Item` message of the item as DynamoDB returned it, where `message` differs;
            else empty.
        read_at: When the read began. For an item of a stream record, when the record was created.
        read_until: When the read ended.
        valid_until: When the item passes its time to live, None if it does not.
        sequence: The sequence number of the stream record that the item comes from; 0 for an item
            that was read.
        shows_until: Every write that was finished before this time is shown; -inf for an item of a
            stream record, as later records may be still to come.
    """

    message: bytes | None
    source: bytes
    read_at: float
    read_until: float
    valid_until: float | None = None
    sequence: int = 0
    shows_until: float = -inf


@dataclass(frozen=True, slots=True)
class CachedItem:
    """An item that is served until `kept_until`, as long as no generation of it is superseded."""

    is_item: ClassVar = True

    content: ItemContent
    kept_until: float
    generations: tuple[Generation, ...]
    stats: TableCacheStats

    @property
    def expires(self) -> float:
        """The time of its expiry: expired items are not kept."""
        return self.kept_until

    @property
    def size(self) -> int:
        """Approximate bytes of memory."""
        content = self.content
        message = 0 if content.message is None else sys.getsizeof(content.message)
        return message + len(content.source) + _ENTRY_OVERHEAD
