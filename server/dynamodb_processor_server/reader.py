"""The Reader port: what everything above reading is written in.

A Reader gives pages of a planned query. `DynamoDBReader` reads them; wrappers of the same port add
caching and resilience. One contract suite (`tests/contract/`) runs against every implementation.

What is made for each call is a named tuple: as immutable as a frozen dataclass, and made in a third
of its time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple, Protocol

from dynamodb_processor_server.catalog.schema import Table
from dynamodb_processor_server.query.expression.values import WireItem
from dynamodb_processor_server.query.planning.plan import Plan, Shape
from dynamodb_processor_server.query.planning.row_rule import RowRule

#: Where a page begins: opaque bytes of `cursor`; empty means from the start.
Position = bytes
START: Position = b""

#: The page size of a count without a bound.
UNBOUNDED: Final = 2**62


class PageEnd(StrEnum):
    """Why a page ends where it ends; the names are the contract's."""

    PAGE_FULL = "PAGE_FULL"
    EXHAUSTED = "EXHAUSTED"
    MAX_ITEMS = "MAX_ITEMS"
    SCAN_BUDGET = "SCAN_BUDGET"
    READ_UNIT_BUDGET = "READ_UNIT_BUDGET"
    TIME_BUDGET = "TIME_BUDGET"
    RESPONSE_BYTES = "RESPONSE_BYTES"


class CacheMode(StrEnum):
    """How a read uses the cache."""

    DEFAULT = "DEFAULT"
    BYPASS = "BYPASS"
    REFRESH = "REFRESH"
    ONLY_IF_CACHED = "ONLY_IF_CACHED"


class CacheStatus(StrEnum):
    """How the cache took part in a page; the names are the contract's."""

    HIT = "HIT"
    SHARED_HIT = "SHARED_HIT"
    MISS = "MISS"
    COALESCED = "COALESCED"
    STALE = "STALE"
    BYPASSED = "BYPASSED"


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """Which cached pages are welcome. `max_staleness` is in seconds."""

    mode: CacheMode = CacheMode.DEFAULT
    max_staleness: float | None = None


DEFAULT_CACHE_POLICY = CachePolicy()


@dataclass(frozen=True, slots=True)
class Usage:
    """What reading took of DynamoDB. `backend_time` is in seconds."""

    items_scanned: int = 0
    read_units: float = 0.0
    backend_calls: int = 0
    retries: int = 0
    backend_time: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.items_scanned + other.items_scanned,
            self.read_units + other.read_units,
            self.backend_calls + other.backend_calls,
            self.retries + other.retries,
            self.backend_time + other.backend_time,
        )


NO_USAGE = Usage()


@dataclass(frozen=True, slots=True)
class PageContent:
    """What a page holds, whoever asked for it.

    `items` is the wire form of `repeated Item items = 1`, ready to be put in front of the rest of
    a response. `next` is None when nothing follows. `read_at` is when the read began, in seconds
    since the epoch; `valid_until` is when the first of the items passes its time to live, None if
    none does or that is not known.
    """

    items: bytes
    count: int
    next: Position | None
    end: PageEnd
    read_at: float
    valid_until: float | None = None


class Page(NamedTuple):
    """A page as one caller gets it. `age` and `expires_in` are in seconds."""

    content: PageContent
    usage: Usage = NO_USAGE
    status: CacheStatus = CacheStatus.BYPASSED
    age: float = 0.0
    expires_in: float | None = None


@dataclass(slots=True)
class Progress:
    """How far a read under way has come, for those who may not be able to wait for its end.

    `cut` returns what has been read so far as a page that ends with TIME_BUDGET; it is None until
    there is something to show. `stop` asks the read to end so at its next chance.
    """

    cut: Callable[[], Page] | None = None
    stop: bool = False


@dataclass(slots=True)
class Surplus:
    """What one call has read beyond its last page, for its next page to begin with.

    `fetched` is the reader's own; it stands for what follows `position`. `read_under` is the
    cache's own, and says what was in force when that was read.
    """

    position: Position | None = None
    fetched: object = None
    read_under: object = None

    def take(self, other: Surplus) -> None:
        """Become what `other` is, and leave it empty."""
        self.position, self.fetched, self.read_under = (
            other.position,
            other.fetched,
            other.read_under,
        )
        other.position = other.fetched = other.read_under = None


class Limits(NamedTuple):
    """How much one page may hold and take.

    `answer_by` and `deadline` are times of the event loop's clock. After `answer_by` a read ends at
    its next chance with what it has; at `deadline` it ends at once, and fails if it has nothing.
    The budgets are the caller's own; None means no limit.
    """

    page_size: int
    answer_by: float
    deadline: float
    max_scanned_items: int | None = None
    max_read_units: float | None = None
    has_duration: bool = False
    cache: CachePolicy = DEFAULT_CACHE_POLICY
    progress: Progress | None = None
    surplus: Surplus | None = None

    def is_over(self, now: float) -> bool:
        """Whether a read that has something to show is to end with it."""
        return now >= self.answer_by or (self.progress is not None and self.progress.stop)

    @property
    def meters_reads(self) -> bool:
        """Whether what is read is bounded, and not only the time."""
        return self.max_scanned_items is not None or self.max_read_units is not None

    @property
    def budgeted(self) -> bool:
        """Whether the page may end early for reasons that are this caller's alone."""
        return self.has_duration or self.meters_reads


@dataclass(frozen=True, slots=True)
class Total:
    """How many items there are; as many or more if it is not `exact`."""

    value: int
    exact: bool


def total_of(counted: int, bound: int, *, exhausted: bool) -> Total:
    """Return what a count up to `bound` (0 for none) says; answers may bring more than that."""
    over = 0 < bound < counted
    return Total(bound if over else counted, exhausted and not over)


@dataclass(frozen=True, slots=True)
class Lookup:
    """Primary keys to get of one table, in wire form, distinct; and what to ask for of each item.

    `request` holds BatchGetItem's parameters for the table besides the keys. What `rule` hides is
    found to be missing.
    """

    table: Table
    keys: tuple[WireItem, ...]
    request: Mapping[str, Any]
    shape: Shape
    strong: bool
    rule: RowRule | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What became of a lookup: for each key, in order, its item, or None where there is none.

    A key that is left out of `items` was not read in time. `read_at` is in seconds since the epoch.
    """

    items: Mapping[int, WireItem | None]
    usage: Usage
    read_at: float


class ItemReader(Protocol):
    """Gets items by their primary keys."""

    async def get_items(self, lookup: Lookup, limits: Limits) -> Found:
        """Return what could be read within `limits`.

        Raises BackendUnavailable, DeadlineExceeded (with nothing to show) and TableNotFound.
        """
        ...


class Reader(Protocol):
    """Gives pages."""

    async def fetch_page(self, plan: Plan, at: Position, limits: Limits) -> Page:
        """Return the page that begins at `at`.

        Raises BackendUnavailable, DeadlineExceeded (with nothing to show), PreconditionFailed
        (index gone; not cached) and TableNotFound.
        """
        ...
