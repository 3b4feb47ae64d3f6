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
from dynamodb_processor_server.query.planning.plan import Plan, ResultProjection
from dynamodb_processor_server.query.planning.row_rule import RowRule

#: Where a page begins: opaque bytes of `cursor`; empty means from the start.
Cursor = bytes
START: Cursor = b""

#: The page size of a count without a bound.
NO_PAGE_LIMIT: Final = 2**62


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
    next: Cursor | None
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
class PartialRead:
    """How far a read under way has come, for those who may not be able to wait for its end.

    `partial_page` returns what has been read so far as a page that ends with TIME_BUDGET; it is
    None until there is something to show. `stop_requested` asks the read to end so at its next
    chance.
    """

    partial_page: Callable[[], Page] | None = None
    stop_requested: bool = False


@dataclass(slots=True)
class ReadAheadBuffer:
    """What one call has read beyond its last page, for its next page to begin with.

    `fetched` is the reader's own; it stands for what follows `cursor`. `snapshot` is the
    cache's own, and says what was in force when that was read.
    """

    cursor: Cursor | None = None
    fetched: object = None
    snapshot: object = None

    def move_from(self, other: ReadAheadBuffer) -> None:
        """Become what `other` is, and leave it empty."""
        self.cursor, self.fetched, self.snapshot = (
            other.cursor,
            other.fetched,
            other.snapshot,
        )
        other.cursor = other.fetched = other.snapshot = None


class ReadOptions(NamedTuple):
    """How much one page may hold and take.

    `soft_deadline` and `hard_deadline` are times of the event loop's clock. After `soft_deadline` a
    read ends at its next chance with what it has; at `hard_deadline` it ends at once, and fails if
    it has nothing. The budgets are the caller's own; None means no limit.
    """

    page_size: int
    soft_deadline: float
    hard_deadline: float
    max_scanned_items: int | None = None
    max_read_units: float | None = None
    has_duration: bool = False
    cache: CachePolicy = DEFAULT_CACHE_POLICY
    progress: PartialRead | None = None
    surplus: ReadAheadBuffer | None = None

    def should_stop(self, now: float) -> bool:
        """Whether a read that has something to show is to end with it."""
        return now >= self.soft_deadline or (
            self.progress is not None and self.progress.stop_requested
        )

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
class BatchGetRequest:
    """Primary keys to get of one table, in wire form, distinct; and what to ask for of each item.

    `request` holds BatchGetItem's parameters for the table besides the keys. What `rule` hides is
    found to be missing.
    """

    table: Table
    keys: tuple[WireItem, ...]
    request: Mapping[str, Any]
    shape: ResultProjection
    consistent: bool
    rule: RowRule | None = None


@dataclass(frozen=True, slots=True)
class BatchGetResult:
    """What became of a lookup: for each key, in order, its item, or None where there is none.

    A key that is left out of `items` was not read in time. `read_at` is in seconds since the epoch.
    """

    items: Mapping[int, WireItem | None]
    usage: Usage
    read_at: float


class ItemReader(Protocol):
    """Gets items by their primary keys."""

    async def get_items(self, lookup: BatchGetRequest, limits: ReadOptions) -> BatchGetResult:
        """Return what could be read within `limits`.

        Raises BackendUnavailable, DeadlineExceeded (with nothing to show) and TableNotFound.
        """
        ...


class PageReader(Protocol):
    """Gives pages."""

    async def read_page(self, plan: Plan, at: Cursor, limits: ReadOptions) -> Page:
        """Return the page that begins at `at`.

        Raises BackendUnavailable, DeadlineExceeded (with nothing to show), PreconditionFailed
        (index gone; not cached) and TableNotFound.
        """
        ...
