"""Hydration: gets whole items from the table where an index holds only parts of them.

An index lags behind its table. The item in the table may have other index keys than its index
entry, may no longer match, or may be gone: then it is dropped. Order and cursors are the index's in
any case.

Items come from the cache where they can. A cached item may be older than its index entry, so it is
used only if it does not contradict the entry, and never to show that an item is gone. So a page is
no older than its index in what the index shows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from itertools import islice
from math import inf
from typing import Final, NamedTuple, TypeAlias

from dynamodb_processor_server.batch_reader import BatchGetRequest, BatchGetResult, ItemReader
from dynamodb_processor_server.errors import DeadlineExceeded
from dynamodb_processor_server.query.expression.ast import Condition
from dynamodb_processor_server.query.expression.evaluator import evaluate
from dynamodb_processor_server.query.expression.values import Value, WireItem, from_wire
from dynamodb_processor_server.query.planning.expression_writer import requested_paths
from dynamodb_processor_server.query.planning.plan import Hydration, Plan
from dynamodb_processor_server.reader import NO_USAGE, CacheMode, Caller, ReadOptions, Usage
from dynamodb_processor_server.runtime.concurrency import gather_or_cancel

PrimaryKey: TypeAlias = tuple[Value, ...]

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


class GotItems(NamedTuple):
    """Items by primary key, None for items that do not exist, and the cost of getting them.

    `cached_at` has the items that this get did not read itself, and when they were read, in seconds
    since the epoch.
    """

    items: Mapping[PrimaryKey, WireItem | None]
    usage: Usage
    cached_at: Mapping[PrimaryKey, float] = {}


class HydratedItems:
    """The table's items that were got for a hydrating plan and not used yet.

    `examined` counts the used items, dropped ones included. `dropped_in_a_row` counts them since
    the last item that was returned. `oldest` is when the oldest cached item on the page was read,
    infinite if there is none. The items of `contradicted` have to be read anew: cached ones do not
    fit their index entries.
    """

    def __init__(self, plan: Plan, hydration: Hydration) -> None:
        self.examined = 0
        self.dropped_in_a_row = 0
        self.oldest = inf
        self.contradicted: set[PrimaryKey] = set()
        self._hydration = hydration
        # DynamoDB has evaluated it on the index entries.
        self._filter = plan.filter
        self._shown_names = {
            path.attribute for request in plan.requests[:1] for path in requested_paths(request)
        }
        self._primary_key = plan.table.schema.base.cursor_attributes
        self._index_key = tuple(attribute.name for attribute in plan.path.key.attributes)
        self._got: dict[PrimaryKey, WireItem | None] = {}
        self._cached_at: dict[PrimaryKey, float] = {}
        self._asked = 0
        self._units = 0.0

    def begin_page(self) -> None:
        """Forget the cached items: a later page of the call may not accept them any more."""
        self.oldest = inf
        for key in self._cached_at:
            del self._got[key]
        self._cached_at.clear()

    def resolve(self, shown: WireItem) -> WireItem | Pending | None:
        """Return the table's item for an index entry; None if it is to be dropped."""
        if not _meets(self._hydration.shown, shown):
            return None
        key = _values(shown, self._primary_key)
        if key not in self._got or self._contradicts(key, shown):
            return PENDING
        item = self._got[key]
        return item if item is not None and self._is_still_there(item, shown) else None

    def take(self, shown: WireItem) -> None:
        """Count the table's item for an index entry as used, and forget it."""
        key = _values(shown, self._primary_key)
        if key in self._got:
            del self._got[key]
            self.oldest = min(self.oldest, self._cached_at.pop(key, inf))
            self.contradicted.discard(key)
            self.examined += 1
            self.dropped_in_a_row += 1

    def missing(self, upcoming: Iterator[WireItem], most: int) -> dict[PrimaryKey, WireItem]:
        """Return the keys of those of the next `most` index entries whose items were not got."""
        due = (shown for shown in upcoming if _meets(self._hydration.shown, shown))
        keys: dict[PrimaryKey, WireItem] = {}
        for shown in islice(due, most):
            key = _values(shown, self._primary_key)
            keys[key] = shown
            if self._contradicts(key, shown):
                del self._got[key], self._cached_at[key]
                self.contradicted.add(key)
        return {
            key: {name: shown[name] for name in self._primary_key}
            for key, shown in keys.items()
            if key not in self._got
        }

    def add(self, got: GotItems) -> None:
        """Add items that were got."""
        self._got.update(got.items)
        self._cached_at.update(got.cached_at)
        self._asked += len(got.items) - len(got.cached_at)
        self._units += got.usage.read_units

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

    def _contradicts(self, key: PrimaryKey, shown: WireItem) -> bool:
        """Return whether there is a cached item that differs from what the index shows of it.

        An absent attribute of an entry was requested, and so is shown to be absent.
        """
        if key not in self._cached_at:
            return False
        item = self._got[key]
        if item is None or not _meets(self._filter, item):
            return True
        return any(item.get(name) != shown.get(name) for name in self._shown_names)

    def _is_still_there(self, item: WireItem, shown: WireItem) -> bool:
        return (
            all(name in item for name in self._index_key)
            and _values(item, self._index_key) == _values(shown, self._index_key)
            and _meets(self._hydration.condition, item)
        )


class Hydrator:
    """Gets items for hydrating plans: up to 100 in a request, and 4 requests at a time.

    They come from `cached`, which stores those that it has to read; or from `items` where nothing
    is to be cached.
    """

    def __init__(self, items: ItemReader, cached: ItemReader | None = None) -> None:
        self._items = items
        self._cached = cached

    async def get(
        self,
        plan: Plan,
        keys: Mapping[PrimaryKey, WireItem],
        options: ReadOptions,
        caller: Caller,
        contradicted: Collection[PrimaryKey] = frozenset(),
    ) -> GotItems:
        """Return the items that could be got in time, and the usage, with no item scanned.

        The `contradicted` ones are read anew.

        Raises as `ItemReader.get_items`, and DeadlineExceeded when no request could be completed.
        """
        assert plan.hydration is not None, "the plan reads all it needs from its path"
        reader = self._items
        if self._cached is not None and _uses_cache(plan, options):
            reader = self._cached
        anew = options._replace(cache=replace(options.cache, mode=CacheMode.REFRESH))
        requests = [
            *_requests([key for key in keys if key not in contradicted], options),
            *_requests([key for key in keys if key in contradicted], anew),
        ]
        answers = await gather_or_cancel(
            self._found(
                reader,
                BatchGetRequest(
                    table=plan.table,
                    keys=tuple(keys[name] for name in request),
                    request=plan.hydration.request,
                    projection=plan.projection,
                    consistent=False,
                ),
                how,
                caller,
            )
            for request, how in requests
        )
        if not any(answers):
            raise DeadlineExceeded("the deadline passed before anything was read")
        got: dict[PrimaryKey, WireItem | None] = {}
        cached_at: dict[PrimaryKey, float] = {}
        usage = NO_USAGE
        for (request, _), found in zip(requests, answers, strict=True):
            if found is None:
                continue
            got |= {request[number]: item for number, item in found.items.items()}
            usage += replace(found.usage, items_scanned=0)
            cached_at |= {request[number]: at for number, at in found.cached_at.items()}
        return GotItems(got, usage, cached_at)

    async def _found(
        self, reader: ItemReader, request: BatchGetRequest, options: ReadOptions, caller: Caller
    ) -> BatchGetResult | None:
        """Return None if the deadline left no time: other requests may have found items."""
        try:
            return await reader.get_items(request, options, caller)
        except DeadlineExceeded:
            return None


def _uses_cache(plan: Plan, options: ReadOptions) -> bool:
    """Return whether items for a page may come from the cache, and are stored there.

    Under a row rule that hides items, the time of a call would tell which of them are cached.
    Cached items of a recent write are read consistently, which a budget of read units is not for. A
    count has many items, in a form that no other read has.
    """
    return (
        plan.is_cached
        and not plan.hides_cost
        and not plan.counts
        and options.budget.max_read_units is None
        and options.cache.mode is not CacheMode.BYPASS
    )


def _requests(
    names: Sequence[PrimaryKey], options: ReadOptions
) -> list[tuple[Sequence[PrimaryKey], ReadOptions]]:
    """Return the keys of each request, with its options."""
    firsts = range(0, len(names), _MAX_KEYS)
    return [(names[first : first + _MAX_KEYS], options) for first in firsts]


def _values(item: WireItem, names: tuple[str, ...]) -> PrimaryKey:
    return tuple(from_wire(item[name]) for name in names)


def _meets(condition: Condition | None, item: WireItem) -> bool:
    return condition is None or evaluate(condition, item)
