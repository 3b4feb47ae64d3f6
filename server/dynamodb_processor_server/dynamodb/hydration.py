"""Hydration: gets whole items from the table where an index holds only parts of them.

An index lags behind its table. The item in the table may have other index keys than its index
entry, may no longer match, or may be gone: then it is dropped. Order and cursors are the index's in
any case.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from enum import Enum
from itertools import islice
from typing import Final, TypeAlias

from dynamodb_processor_server.batch_reader import BatchGetRequest, BatchGetResult, ItemReader
from dynamodb_processor_server.errors import DeadlineExceeded
from dynamodb_processor_server.query.expression.ast import Condition
from dynamodb_processor_server.query.expression.evaluator import evaluate
from dynamodb_processor_server.query.expression.values import Value, WireItem, from_wire
from dynamodb_processor_server.query.planning.plan import Hydration, Plan
from dynamodb_processor_server.reader import NO_USAGE, Caller, ReadOptions, Usage
from dynamodb_processor_server.runtime.concurrency import gather_or_cancel

PrimaryKey: TypeAlias = tuple[Value, ...]
#: Items by primary key; None for items that no longer exist.
Got: TypeAlias = Mapping[PrimaryKey, WireItem | None]

#: The read units of the cheapest get: an item of up to `_BYTES_PER_GET`.
UNITS_PER_GET: Final = 0.5
_BYTES_PER_GET: Final = 4096
_MAX_KEYS: Final = 100  # DynamoDB's limit on one BatchGetItem
_MAX_REQUESTS: Final = 4  # at the same time
_MAX_BYTES: Final = 16_000_000  # estimated, of items that are got at the same time


class Pending(Enum):
    """The type of `PENDING`."""

    PENDING = True


#: Stands for an item that has not been got yet.
PENDING: Final = Pending.PENDING


class HydratedItems:
    """The table's items that were got for a hydrating plan and not used yet.

    `examined` counts the used items, dropped ones included. `dropped_in_a_row` counts them since
    the last item that was returned.
    """

    def __init__(self, plan: Plan, hydration: Hydration) -> None:
        self.examined = 0
        self.dropped_in_a_row = 0
        self._hydration = hydration
        self._primary_key = plan.table.schema.base.cursor_attributes
        self._index_key = tuple(attribute.name for attribute in plan.path.key.attributes)
        self._got: dict[PrimaryKey, WireItem | None] = {}
        self._asked = 0
        self._units = 0.0

    def resolve(self, shown: WireItem) -> WireItem | Pending | None:
        """Return the table's item for an index entry; None if it is to be dropped."""
        if not _meets(self._hydration.shown, shown):
            return None
        key = _values(shown, self._primary_key)
        if key not in self._got:
            return PENDING
        item = self._got[key]
        return item if item is not None and self._is_still_there(item, shown) else None

    def take(self, shown: WireItem) -> None:
        """Count the table's item for an index entry as used, and forget it."""
        key = _values(shown, self._primary_key)
        if key in self._got:
            del self._got[key]
            self.examined += 1
            self.dropped_in_a_row += 1

    def missing(self, upcoming: Iterator[WireItem], most: int) -> dict[PrimaryKey, WireItem]:
        """Return the keys of those of the next `most` index entries whose items were not got."""
        due = (shown for shown in upcoming if _meets(self._hydration.shown, shown))
        keys = {_values(shown, self._primary_key): shown for shown in islice(due, most)}
        return {
            key: {name: shown[name] for name in self._primary_key}
            for key, shown in keys.items()
            if key not in self._got
        }

    def add(self, got: Got, usage: Usage) -> None:
        """Add items that were got."""
        self._got.update(got)
        self._asked += len(got)
        self._units += usage.read_units

    def batch_size(self, wanted: int) -> int:
        """Return how many of `wanted` items to get at the same time.

        The first time one request's worth. Later the items' read units give an estimate of their
        size, and as many are got as fit in the memory limit.
        """
        if not self._asked:
            return min(wanted, _MAX_KEYS)
        size = max(1.0, self._units / self._asked / UNITS_PER_GET) * _BYTES_PER_GET
        return min(wanted, _MAX_KEYS * _MAX_REQUESTS, max(1, int(_MAX_BYTES / size)))

    def selected(self, wanted: int, delivered: int) -> int:
        """Return how many items to get for `wanted` results, with `delivered` results so far."""
        if not self._hydration.selective:
            return wanted
        return max(-(-wanted * (self.examined + 2) // (delivered + 1)), self.dropped_in_a_row)

    def _is_still_there(self, item: WireItem, shown: WireItem) -> bool:
        return (
            all(name in item for name in self._index_key)
            and _values(item, self._index_key) == _values(shown, self._index_key)
            and _meets(self._hydration.condition, item)
        )


class Hydrator:
    """Gets items for hydrating plans: up to 100 in a request, and 4 requests at a time."""

    def __init__(self, items: ItemReader) -> None:
        self._items = items

    async def get(
        self,
        plan: Plan,
        keys: Mapping[PrimaryKey, WireItem],
        options: ReadOptions,
        caller: Caller,
    ) -> tuple[Got, Usage]:
        """Return the items that could be got in time, and the usage, with no item scanned.

        Raises as `ItemReader.get_items`, and DeadlineExceeded when no request could be completed.
        """
        assert plan.hydration is not None, "the plan reads all it needs from its path"
        names = list(keys)
        requests = [names[first : first + _MAX_KEYS] for first in range(0, len(names), _MAX_KEYS)]
        answers = await gather_or_cancel(
            self._found(
                BatchGetRequest(
                    table=plan.table,
                    keys=tuple(keys[name] for name in request),
                    request=plan.hydration.request,
                    projection=plan.projection,
                    consistent=False,
                ),
                options,
                caller,
            )
            for request in requests
        )
        if not any(answers):
            raise DeadlineExceeded("the deadline passed before anything was read")
        got: dict[PrimaryKey, WireItem | None] = {}
        usage = NO_USAGE
        for request, found in zip(requests, answers, strict=True):
            if found is not None:
                got |= {request[number]: item for number, item in found.items.items()}
                usage += replace(found.usage, items_scanned=0)
        return got, usage

    async def _found(
        self, request: BatchGetRequest, options: ReadOptions, caller: Caller
    ) -> BatchGetResult | None:
        """Return None if the deadline left no time: other requests may have found items."""
        try:
            return await self._items.get_items(request, options, caller)
        except DeadlineExceeded:
            return None


def _values(item: WireItem, names: tuple[str, ...]) -> PrimaryKey:
    return tuple(from_wire(item[name]) for name in names)


def _meets(condition: Condition | None, item: WireItem) -> bool:
    return condition is None or evaluate(condition, item)
