"""Gets as many items as one response has room for, and hardly any beyond.

DynamoDB answers one request with up to 16 MB. Items beyond the room of a response would be read,
paid for and thrown away. So keys are asked for in parts, each as large as the room that is left, as
estimated from the size of the items so far. Items are kept as the bytes of messages, which take a
tenth of the room of Python objects.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Final

from cachetools import LRUCache

from dynamodb_processor_server.batch_reader import (
    BatchGetRequest,
    BatchGetResult,
    CachedItems,
    ItemLookup,
    ItemReader,
)
from dynamodb_processor_server.dynamodb.item_encoding import item_message
from dynamodb_processor_server.dynamodb.oversized_items import MAX_ITEM_BYTES, key_text
from dynamodb_processor_server.errors import (
    BackendUnavailable,
    DeadlineExceeded,
    ItemTooLarge,
    Overloaded,
)
from dynamodb_processor_server.query.planning.projection import apply_projection
from dynamodb_processor_server.reader import (
    NO_USAGE,
    Budget,
    CacheStatus,
    Caller,
    ReadOptions,
    Usage,
)

# Of a table of which nothing is known every item may have as many bytes as DynamoDB allows.
_MAX_ITEM_BYTES: Final = 400 * 1024
# Bytes that half a read unit pays for, read eventually consistent; a consistent read takes twice as
# many units.
_BYTES_PER_GET: Final = 4096
# Bytes of items asked for at once, which are held as Python objects: while sizes are only guessed,
# and where messages are much larger than the stored items. Lists of small numbers are: as objects
# they take a hundred times as much.
_MAX_FIRST_PART: Final = 512 * 1024
_MAX_DENSE_PART: Final = 1024 * 1024
_DENSE: Final = 1.5
_MAX_REMEMBERED: Final = 1_000  # tables and projections whose item sizes are known
# How much of the status of a batch that of a part decides: a batch is a miss if any key was read.
_WEIGHTS: Final = {
    CacheStatus.HIT: 0,
    CacheStatus.SHARED_HIT: 1,
    CacheStatus.COALESCED: 2,
    CacheStatus.MISS: 3,
    CacheStatus.BYPASSED: 4,
}


@dataclass(frozen=True, slots=True)
class BoundedBatch:
    """The `Item` messages of a batch by the index of their key, None for an absent item.

    A key that is absent from `items` was not read. The other values are as in `BatchGetResult`; the
    batch is a HIT if no key was read.
    """

    items: Mapping[int, bytes | None]
    usage: Usage
    read_at: float
    status: CacheStatus = CacheStatus.BYPASSED
    age: float = 0.0
    expires_in: float | None = None


class BoundedBatches:
    """Gets items for answers of at most `max_bytes` of items, each of at most `max_item_bytes`.

    The items that `cached` finds come first, and need no read.
    """

    def __init__(
        self,
        items: ItemReader,
        max_bytes: int,
        max_item_bytes: int = MAX_ITEM_BYTES,
        cached: ItemLookup | None = None,
    ) -> None:
        self._items = items
        self._cached = cached
        self._max_bytes = max_bytes
        self._max_item_bytes = max_item_bytes
        self._sizes: LRUCache[Hashable, float] = LRUCache(_MAX_REMEMBERED)

    async def get_items(
        self,
        request: BatchGetRequest,
        options: ReadOptions,
        caller: Caller,
        reserved: int = 0,
    ) -> BoundedBatch:
        """Return the items that could be read in time and fit, with `reserved` bytes left free.

        Raises as `ItemReader`, if nothing could be read, and ItemTooLarge for the first
        item that is too large where there is no other one.
        """
        room = self._max_bytes - reserved
        batch = _BatchBuilder(request, room, self._max_item_bytes, self._expected(request))
        if self._cached is not None:
            batch.add_cached(self._cached.cached_items(request, options.cache))
        while (part := batch.next_part()) and not batch.should_stop(options):
            try:
                found = await self._items.get_items(
                    replace(request, keys=tuple(request.keys[index] for index in part)),
                    batch.part_options(options),
                    caller,
                )
            except (BackendUnavailable, DeadlineExceeded, Overloaded):
                if not batch.began:
                    raise
                break  # the parts so far are not lost
            if batch.began and not found.items:
                break
            batch.add(part, found)
        if not batch.count and batch.too_large is not None:
            raise batch.too_large
        if batch.count:
            self._sizes[_size_key(request)] = batch.average
        return batch.result()

    def _expected(self, request: BatchGetRequest) -> float:
        """Return how large an item is likely to be.

        Under a row rule the size of other items must not be felt, not even in how many requests
        are made.
        """
        remembered = self._sizes.get(_size_key(request))
        average = request.table.schema.item_bytes if request.rule is None else None
        return remembered or average or _MAX_ITEM_BYTES


def _size_key(request: BatchGetRequest) -> Hashable:
    """Return a key for the size of items: the table, the request and the row rule."""
    return request.table.schema.identity, hash(str(request.request)), request.rule


class _BatchBuilder:
    """Builds one batch. `count` items were found, with `average` bytes."""

    def __init__(self, request: BatchGetRequest, room: int, max_item: int, expected: float) -> None:
        self.items: dict[int, bytes | None] = {}
        self.usage = NO_USAGE
        self._read_at = inf
        self._age = 0.0
        self._expires_in: float | None = inf
        self._status: CacheStatus | None = None
        self.too_large: ItemTooLarge | None = None
        self._parts = 0
        self.count = 0
        self._request = request
        self._room = room
        self._max_item = max_item
        self._expected = expected
        self._bytes = 0
        self._cached_bytes = 0
        self._pending: list[int] = list(range(len(request.keys)))

    @property
    def began(self) -> bool:
        return self._parts > 0

    @property
    def average(self) -> float:
        return max(1.0, self._bytes / self.count if self.count else self._expected)

    def next_part(self) -> Sequence[int]:
        """Return the indexes of the keys to ask for next; none if there is no room or no key."""
        left = self._room - self._bytes
        if self.count and left < self.average:
            return ()
        fitting = max(1, int(min(left, self._most_at_once) / self.average))
        if not self.count:  # each part without an item makes it likelier that there are none
            fitting <<= self._parts
        return self._pending[:fitting]

    @property
    def _most_at_once(self) -> float:
        """Return how many bytes of items one part may hold, which then become bytes."""
        if not self.count:
            return _MAX_FIRST_PART
        if self._request.rule is not None:  # the units would tell of hidden items
            return _MAX_DENSE_PART
        stored = self.usage.read_units * _BYTES_PER_GET * (1 if self._request.consistent else 2)
        read = self._bytes - self._cached_bytes
        return _MAX_DENSE_PART if read > _DENSE * stored else self._room

    def should_stop(self, options: ReadOptions) -> bool:
        """Return whether the call's own deadline or budget ends the batch here."""
        if not self.began:
            return False
        late = asyncio.get_running_loop().time() >= options.soft_deadline
        return late or options.budget.spent_by(self.usage) is not None

    def part_options(self, options: ReadOptions) -> ReadOptions:
        """Return the options of the next part, in which keys without room stay unprocessed.

        So a part that was taken for one of small items ends after the answer that shows otherwise.
        """
        room = max(self._room - self._bytes, self.average)
        units = room / _BYTES_PER_GET * (1.0 if self._request.consistent else 0.5)
        left = options.budget.after(self.usage).max_read_units
        if left is not None:
            units = min(units, left)
        return options._replace(budget=Budget(max_read_units=units))

    def add_cached(self, cached: CachedItems) -> None:
        """Take in the cached items."""
        if not cached.messages:
            return
        self._parts += 1
        self._note(cached, CacheStatus.HIT)
        for index, message in cached.messages.items():
            self._take(index, message)
        self._cached_bytes = self._bytes

    def add(self, part: Sequence[int], found: BatchGetResult) -> None:
        """Take in the items of a part."""
        self.usage += found.usage
        self._parts += 1
        self._note(found, found.status)
        for index, item in found.items.items():
            message = found.messages.get(index)
            if message is None and item is not None:
                message = item_message(apply_projection(item, self._request.projection))
            self._take(part[index], message)

    def result(self) -> BoundedBatch:
        """Return the batch."""
        status = self._status or CacheStatus.BYPASSED
        expires_in = None if self._expires_in == inf else self._expires_in
        return BoundedBatch(self.items, self.usage, self._read_at, status, self._age, expires_in)

    def _note(self, part: BatchGetResult | CachedItems, status: CacheStatus) -> None:
        """Take a part's times and source into account."""
        self._read_at = min(self._read_at, part.read_at)
        self._age = max(self._age, part.age)
        if part.expires_in is None or self._expires_in is None:
            self._expires_in = None
        else:
            self._expires_in = min(self._expires_in, part.expires_in)
        if self._status is None or _WEIGHTS[status] > _WEIGHTS[self._status]:
            self._status = status

    def _take(self, index: int, message: bytes | None) -> None:
        """Add an item, unless it is too large or has no room."""
        self._pending.remove(index)
        if message is not None:
            if len(message) > self._max_item:
                self._note_too_large(index, len(message))
                return
            if self.count and self._bytes + len(message) > self._room:
                return  # it is asked for again by the next call
            self.count += 1
            self._bytes += len(message)
        self.items[index] = message

    def _note_too_large(self, index: int, size: int) -> None:
        if self.too_large is None:
            table = self._request.table
            name = key_text(table, table.view.expanded(self._request.keys[index], 0.0))
            self.too_large = ItemTooLarge(name, size, self._max_item)
