"""The partitions that one page is read from, merged in sort-key order.

Most queries have one partition, and merging one is nothing. With several, an item can be taken only
when every partition that is not exhausted has shown its next one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from heapq import merge
from operator import attrgetter, itemgetter
from typing import Any, Final, TypeAlias

from dynamodb_processor_server.cursor import EXHAUSTED, PartitionCursor, key_of
from dynamodb_processor_server.dynamodb.hydration import HydratedItems
from dynamodb_processor_server.query.expression.values import WireItem, from_wire
from dynamodb_processor_server.query.planning.plan import Operation, Plan

_SortKey: TypeAlias = tuple[Any, ...]
_ORDER: Final = attrgetter("order")
_FIRST: Final = itemgetter(0)


class PartitionStream:
    """One partition: its request, what was read of it and not yet taken, and where it stands.

    `position` is the furthest place before which everything was taken: the key to go on from, None
    for the start, or EXHAUSTED. `read_at` is when `items` were read. `order` is the `sort_key` of
    the first of them, and `evaluated` how many items DynamoDB has looked at in this call, for
    `units` read units; `in_vain` counts those since the last item that was returned.
    """

    def __init__(
        self,
        request: Mapping[str, Any],
        position: PartitionCursor,
        sort_key: Callable[[WireItem], _SortKey],
    ) -> None:
        self.request = request
        self.position = position
        self.items: deque[WireItem] = deque()
        self.read_at = 0.0
        self.order: _SortKey = ()
        self.evaluated = 0
        self.in_vain = 0
        self.units = 0.0
        self._sort_key = sort_key
        self._behind: PartitionCursor = position  # where it stands when `items` are all taken

    @property
    def waiting(self) -> bool:
        """Whether nothing can be said before more has been read."""
        return not self.items and self.position is not EXHAUSTED

    @property
    def unread(self) -> bool:
        """Whether there may be more to read than `items`."""
        return self._behind is not EXHAUSTED

    def add(self, answer: Mapping[str, Any], read_at: float) -> None:
        """Take in an answer to `request` from `position`."""
        self.read_at = read_at
        self.items.extend(answer["Items"])
        self._behind = answer.get("LastEvaluatedKey") or EXHAUSTED
        if not self.items:
            self.position = self._behind
        self._show()

    def take(self, key_attributes: Iterable[str]) -> WireItem:
        """Take the next item."""
        item = self.items.popleft()
        self.position = key_of(item, key_attributes) if self.items else self._behind
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

    `base` are the items of the table behind those that the partitions show, None where what they
    show is what is returned.
    """

    def __init__(self, plan: Plan, positions: Sequence[PartitionCursor]) -> None:
        sort_key = _sort_key(plan)
        self._all = [
            PartitionStream(request, position, sort_key)
            for request, position in zip(plan.requests, positions, strict=True)
        ]
        self._key_attributes = plan.path.cursor_attributes
        self.base = None if plan.hydration is None else HydratedItems(plan, plan.hydration)
        self.delivered = 0
        self._descending = plan.descending
        self._choose = max if plan.descending else min

    @property
    def positions(self) -> list[PartitionCursor]:
        """Where each partition stands."""
        return [branch.position for branch in self._all]

    @property
    def exhausted(self) -> bool:
        """Whether everything has been taken."""
        return all(branch.position is EXHAUSTED for branch in self._all)

    @property
    def unread(self) -> int:
        """Of how many partitions there may be more to read."""
        return sum(branch.unread for branch in self._all)

    @property
    def evaluated(self) -> int:
        """How many items DynamoDB has looked at in this call."""
        return sum(branch.evaluated for branch in self._all)

    @property
    def matches(self) -> int:
        """How many items were delivered or, for all that is known before, will be."""
        return self.delivered + sum(len(branch.items) for branch in self._all)

    @property
    def read_at(self) -> float | None:
        """When the oldest item that is shown was read, None if none is."""
        return min((branch.read_at for branch in self._all if branch.items), default=None)

    def waiting(self) -> list[PartitionStream]:
        """Return the partitions of which more must be read before an item can be taken."""
        return [branch for branch in self._all if branch.waiting]

    def next(self) -> PartitionStream | None:
        """Return the partition whose item comes next, None if there is none. None may be waiting.

        Ties go to the earlier partition; within one the order is DynamoDB's own.
        """
        showing = [branch for branch in self._all if branch.items]
        if len(showing) < 2:
            return showing[0] if showing else None
        # Both `min` and `max` give the first of equals.
        return self._choose(showing, key=_ORDER)

    def upcoming(self) -> Iterator[WireItem]:
        """Yield the items that will be taken, in order, as far as that can be told."""
        entries = (branch.ahead() for branch in self._all)
        # Of equals, too, those of the earlier partition come first, in either direction.
        for _, item in merge(*entries, key=_FIRST, reverse=self._descending):
            if item is None:
                return
            yield item

    def note_returned(self, branch: PartitionStream) -> None:
        """Note that the next item of a partition is returned."""
        self.delivered += 1
        branch.in_vain = 0
        if self.base is not None:
            self.base.dropped_in_a_row = 0

    def pop(self, branch: PartitionStream) -> WireItem:
        """Take the next item of a partition."""
        item = branch.take(self._key_attributes)
        if self.base is not None:
            self.base.take(item)
        return item


def _sort_key(plan: Plan) -> Callable[[WireItem], _SortKey]:
    """Return what an item is merged by; nothing where there is nothing to merge."""
    if len(plan.requests) < 2:
        return lambda item: ()
    names = [attribute.name for attribute in plan.path.key.sort]
    return lambda item: tuple(from_wire(item[name]).order for name in names)


def next_request(
    plan: Plan, request: Mapping[str, Any], position: PartitionCursor, limit: int | None
) -> dict[str, Any]:
    """Return the request for a partition's items from a position on; None is no `Limit`."""
    parameters = dict(request)
    if limit is not None and plan.operation is not Operation.GET:
        parameters["Limit"] = limit
    if isinstance(position, Mapping):
        parameters["ExclusiveStartKey"] = position
    return parameters
