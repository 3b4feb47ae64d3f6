"""The partitions that one page is read from, merged in sort-key order.

Most queries have one partition, which needs no merging. With several, an item can be taken only
when the next item of every partition that is not exhausted is known.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from heapq import merge
from operator import gt, itemgetter, lt
from typing import Any, Final, TypeAlias

from dynamodb_processor_server.cursor import EXHAUSTED, PartitionCursor, key_of
from dynamodb_processor_server.dynamodb.hydration import HydratedItems
from dynamodb_processor_server.query.expression.values import WireItem, from_wire
from dynamodb_processor_server.query.planning.plan import Operation, Plan

_SortKey: TypeAlias = tuple[Any, ...]
_FIRST: Final = itemgetter(0)


class PartitionStream:
    """One partition: its request, the items read and not yet taken, and its cursor.

    `cursor` is the key to go on from, None for the start, or EXHAUSTED. `read_at` is when `items`
    were read, and `order` is the `sort_key` of the first of them. `evaluated` is the number of
    items that DynamoDB has evaluated in this call, for `units` read units; `in_vain` counts those
    since the last item that was returned.
    """

    def __init__(
        self,
        request: Mapping[str, Any],
        cursor: PartitionCursor,
        sort_key: Callable[[WireItem], _SortKey],
    ) -> None:
        self.request = request
        self.items: deque[WireItem] = deque()
        self.read_at = 0.0
        self.order: _SortKey = ()
        self.evaluated = 0
        self.in_vain = 0
        self.units = 0.0
        self._sort_key = sort_key
        self._cursor: PartitionCursor = cursor
        self._behind: PartitionCursor = cursor  # the cursor when all `items` are taken
        # The last item taken, while there are others, and the attributes of its key: the cursor is
        # needed once a page, and not once an item.
        self._last: WireItem | None = None
        self._names: Iterable[str] = ()

    @property
    def cursor(self) -> PartitionCursor:
        """The furthest point before which everything was taken."""
        return self._cursor if self._last is None else key_of(self._last, self._names)

    @property
    def waiting(self) -> bool:
        """Whether its next item is unknown until more is read."""
        return not self.items and self._cursor is not EXHAUSTED

    @property
    def unread(self) -> bool:
        """Whether there may be more to read than `items`."""
        return self._behind is not EXHAUSTED

    def add(self, answer: Mapping[str, Any], read_at: float) -> None:
        """Add an answer to `request` from `cursor` on."""
        self.read_at = read_at
        self.items.extend(answer["Items"])
        self._behind = answer.get("LastEvaluatedKey") or EXHAUSTED
        if not self.items:
            self._cursor = self._behind
        self._show()

    def take(self, key_attributes: Iterable[str], count: int = 1) -> WireItem:
        """Take the next `count` items; return the last of them."""
        item = self.items[count - 1]
        for _ in range(count):
            self.items.popleft()
        if self.items:
            self._last, self._names = item, key_attributes
        else:
            self._last, self._cursor = None, self._behind
        self._show()
        return item

    def ahead(self) -> Iterator[tuple[_SortKey, WireItem | None]]:
        """Yield the items not yet taken with their `order`, then None if more may follow."""
        order: _SortKey = ()
        for item in self.items:
            order = self._sort_key(item)
            yield order, item
        if self.unread:
            yield order, None

    def _show(self) -> None:
        # Once for each item: the merge compares it with all other partitions' many times.
        if self.items:
            self.order = self._sort_key(self.items[0])


class PartitionMerge:
    """All partitions of a plan. `delivered` counts the items that went on pages.

    `base` are the items of the table behind those that the partitions show, None where those are
    returned themselves.
    """

    def __init__(self, plan: Plan, cursors: Sequence[PartitionCursor]) -> None:
        sort_key = _sort_key(plan)
        self._all = [
            PartitionStream(request, cursor, sort_key)
            for request, cursor in zip(plan.requests, cursors, strict=True)
        ]
        self._key_attributes = plan.path.cursor_attributes
        self.base = None if plan.hydration is None else HydratedItems(plan, plan.hydration)
        self.delivered = 0
        self._descending = plan.descending
        self._precedes = gt if plan.descending else lt

    @property
    def cursors(self) -> list[PartitionCursor]:
        """The cursor of each partition."""
        return [partition.cursor for partition in self._all]

    @property
    def exhausted(self) -> bool:
        """Whether everything has been taken."""
        return all(partition.cursor is EXHAUSTED for partition in self._all)

    @property
    def unread(self) -> int:
        """The number of partitions of which there may be more to read."""
        return sum(partition.unread for partition in self._all)

    @property
    def evaluated(self) -> int:
        """The number of items that DynamoDB has evaluated in this call."""
        return sum(partition.evaluated for partition in self._all)

    @property
    def matches(self) -> int:
        """The number of items that were delivered or, as far as is known, will be."""
        return self.delivered + sum(len(partition.items) for partition in self._all)

    @property
    def read_at(self) -> float | None:
        """When the oldest item that is shown was read, None if none is."""
        return min((partition.read_at for partition in self._all if partition.items), default=None)

    def waiting(self) -> list[PartitionStream]:
        """Return the partitions of which more must be read before an item can be taken."""
        return [partition for partition in self._all if partition.waiting]

    def next(self) -> PartitionStream | None:
        """Return the partition whose item comes next, None if there is none or one is waiting.

        Ties go to the earlier partition; within one the order is DynamoDB's own.
        """
        following: PartitionStream | None = None
        for partition in self._all:
            if not partition.items:
                if partition.waiting:
                    return None
            elif following is None or self._precedes(partition.order, following.order):
                following = partition
        return following

    def upcoming(self) -> Iterator[WireItem]:
        """Yield the items that will be taken, in order, as far as that is known."""
        entries = (partition.ahead() for partition in self._all)
        # Of equals, too, those of the earlier partition come first, in either direction.
        for _, item in merge(*entries, key=_FIRST, reverse=self._descending):
            if item is None:
                return
            yield item

    def note_returned(self, partition: PartitionStream, count: int = 1) -> None:
        """Note that the next `count` items of a partition are returned."""
        self.delivered += count
        partition.in_vain = 0
        if self.base is not None:
            self.base.dropped_in_a_row = 0

    def pop(self, partition: PartitionStream, count: int = 1) -> WireItem:
        """Take the next items of a partition; return the last. Hydrated ones are taken singly."""
        item = partition.take(self._key_attributes, count)
        if self.base is not None:
            self.base.take(item)
        return item


def _sort_key(plan: Plan) -> Callable[[WireItem], _SortKey]:
    """Return the key by which items are merged; an empty one for a single partition."""
    if len(plan.requests) < 2:
        return lambda item: ()
    names = [attribute.name for attribute in plan.path.key.sort]
    return lambda item: tuple(from_wire(item[name]).order for name in names)


def next_request(
    plan: Plan, request: Mapping[str, Any], cursor: PartitionCursor, limit: int | None
) -> dict[str, Any]:
    """Return the request for a partition's items from a cursor on; None is no `Limit`."""
    parameters = dict(request)
    if limit is not None and plan.operation is not Operation.GET:
        parameters["Limit"] = limit
    if isinstance(cursor, Mapping):
        parameters["ExclusiveStartKey"] = cursor
    return parameters
