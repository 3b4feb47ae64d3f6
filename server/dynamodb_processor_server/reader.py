"""The reader port, in terms of which everything above a read is written.

A `PageReader` returns one page for a `PageRead`. `DynamoDBReader` reads it from DynamoDB; the other
readers wrap the next one and add a cache, single flight or admission. One contract suite
(`tests/contract/`) runs against every implementation.

Values that are made for each call are named tuples: as immutable as a frozen dataclass, and made in
a third of the time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple, Protocol, TypeAlias

from dynamodb_processor_server.auth.principal import Principal
from dynamodb_processor_server.query.planning.plan import Plan
from dynamodb_processor_server.snapshot import GenerationSnapshot

#: Where a page begins: opaque bytes of `cursor`; empty means from the start.
Cursor = bytes
START: Cursor = b""
#: Identifies a page for every caller; see `page_key`.
PageKey: TypeAlias = bytes

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
    """The pages that a caller accepts.

    None is older than `max_staleness` seconds. Each shows every write that was finished before
    `not_before`; None for no such bound. The pages whose digests are `seen` need to show only the
    writes before `seen_from`: the caller has had them already. Both times are in seconds since the
    epoch by the clock of this replica, with the margin for the clocks of others.
    """

    mode: CacheMode = CacheMode.DEFAULT
    max_staleness: float | None = None
    not_before: float | None = None
    seen: bytes = b""
    seen_from: float = -math.inf


DEFAULT_CACHE_POLICY = CachePolicy()


@dataclass(frozen=True, slots=True)
class Usage:
    """The use of DynamoDB by a read. `backend_time`, and `queue_time` before it, are in seconds."""

    items_scanned: int = 0
    read_units: float = 0.0
    backend_calls: int = 0
    retries: int = 0
    backend_time: float = 0.0
    queue_time: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.items_scanned + other.items_scanned,
            self.read_units + other.read_units,
            self.backend_calls + other.backend_calls,
            self.retries + other.retries,
            self.backend_time + other.backend_time,
            self.queue_time + other.queue_time,
        )


NO_USAGE = Usage()


@dataclass(frozen=True, slots=True)
class PageContent:
    """The content of a page, the same for every caller.

    `items` is the wire form of `repeated Item items = 1`, ready to be put in front of the rest of
    a response. `next` is None when nothing follows. `read_at` is when the read began, in seconds
    since the epoch; `valid_until` is when the first of the items passes its time to live, None if
    none does or that is not known.

    The cache adds the rest. Every write that was finished before `shows_until` is shown. No data
    was read after `read_until`, which is infinite where that is not known. `digest` identifies the
    page and its read, empty for a page that is not stored.
    """

    items: bytes
    count: int
    next: Cursor | None
    end: PageEnd
    read_at: float
    valid_until: float | None = None
    shows_until: float = field(default=-math.inf, compare=False)
    read_until: float = field(default=math.inf, compare=False)
    digest: bytes = field(default=b"", compare=False)


class BufferedItems(Protocol):
    """Items that a reader has read and not delivered, with their cursors."""

    @property
    def read_at(self) -> float | None:
        """When the oldest of them was read, in seconds since the epoch; None if there are none."""


@dataclass(slots=True)
class ReadAhead:
    """Items that were read beyond a page, with which the next page of the same call can begin.

    They follow `cursor`, and were read under `snapshot`, which is None outside the cache.
    """

    cursor: Cursor
    items: BufferedItems | None
    snapshot: GenerationSnapshot | None = None

    def take(self, cursor: Cursor) -> BufferedItems | None:
        """Return the items to the first page that asks, if that begins at their cursor."""
        items, self.items = self.items, None
        return items if cursor == self.cursor else None


class Page(NamedTuple):
    """A page as one caller gets it. `age` and `expires_in` are in seconds."""

    content: PageContent
    usage: Usage = NO_USAGE
    status: CacheStatus = CacheStatus.BYPASSED
    age: float = 0.0
    expires_in: float | None = None
    read_ahead: ReadAhead | None = None


@dataclass(slots=True)
class PartialRead:
    """The progress of a read under way, for callers that cannot wait for its end.

    `partial_page` returns the items read so far as a page that ends with TIME_BUDGET; it is None
    until there are any. `stop_requested` asks the read to end with such a page as soon as it can.
    `awaited_until` is the latest hard deadline of a caller, infinite where nobody waits.
    """

    partial_page: Callable[[], Page] | None = None
    stop_requested: bool = False
    awaited_until: float = math.inf


@dataclass(frozen=True, slots=True)
class Budget:
    """The bounds that a caller sets to one call or page; None means no limit.

    `max_duration` is in seconds.
    """

    max_scanned_items: int | None = None
    max_read_units: float | None = None
    max_duration: float | None = None

    @property
    def meters_reads(self) -> bool:
        """Whether it bounds items or read units, and not only the time."""
        return self.max_scanned_items is not None or self.max_read_units is not None

    @property
    def is_limited(self) -> bool:
        """Whether a page may end early for a reason that is this caller's alone."""
        return self.max_duration is not None or self.meters_reads

    def spent_by(self, usage: Usage) -> PageEnd | None:
        """Return the bound that a use has reached, None if there is some left of each."""
        scanned, units = self.max_scanned_items, self.max_read_units
        if scanned is not None and usage.items_scanned >= scanned:
            return PageEnd.SCAN_BUDGET
        if units is not None and usage.read_units >= units:
            return PageEnd.READ_UNIT_BUDGET
        return None

    def after(self, usage: Usage) -> Budget:
        """Return the part of the budget that a use leaves; the duration stays as it is."""
        scanned, units = self.max_scanned_items, self.max_read_units
        return Budget(
            None if scanned is None else scanned - usage.items_scanned,
            None if units is None else units - usage.read_units,
            self.max_duration,
        )


NO_BUDGET = Budget()


class ReadOptions(NamedTuple):
    """The size of one page, and the time and budget for reading it.

    Deadlines are times of the event loop's clock. After `soft_deadline` a read ends as soon as it
    can with the items it has; at `hard_deadline` it ends at once, and fails if it has none.
    `reads_on` says that the call goes on with the next page, which can use items read beyond this
    one.
    """

    page_size: int
    soft_deadline: float
    hard_deadline: float
    budget: Budget = NO_BUDGET
    cache: CachePolicy = DEFAULT_CACHE_POLICY
    reads_on: bool = False


class Caller(NamedTuple):
    """The principal for whom a page is read: it is admitted and charged.

    `deadline` is the end of its call, a time of the event loop's clock. A read that several calls
    share is that of the call that started it.
    """

    principal: Principal
    deadline: float


class PageRead(NamedTuple):
    """One page to read: the page of `plan` that begins at `cursor`.

    Each reader adds to it for the next one. The cache adds `snapshot`, the generations under which
    the read began, and `progress` where callers may share the read. `read_ahead` are the items that
    the same call read beyond its last page; the pager keeps them from page to page. `known_key` is
    the page's key, None where the caller does not know it; the cache finds it once.
    """

    plan: Plan
    cursor: Cursor
    options: ReadOptions
    caller: Caller
    snapshot: GenerationSnapshot | None = None
    read_ahead: ReadAhead | None = None
    progress: PartialRead | None = None
    known_key: PageKey | None = None

    @property
    def key(self) -> PageKey:
        """The key under which the page is cached and shared."""
        known = self.known_key
        return page_key(self.plan, self.cursor, self.options.page_size) if known is None else known


@dataclass(frozen=True, slots=True)
class Total:
    """The number of items of a query; that number or more if it is not `exact`."""

    value: int
    exact: bool


def total_of(counted: int, bound: int, *, exhausted: bool) -> Total:
    """Return the total of a count up to `bound` (0 for none), which a last answer may exceed."""
    over = 0 < bound < counted
    return Total(bound if over else counted, exhausted and not over)


def page_key(plan: Plan, cursor: Cursor, page_size: int) -> PageKey:
    """Return the key of a plan's page that begins at `cursor`.

    The plan's key and the size have fixed lengths, so no two pages have the same key. One string of
    bytes takes half of the memory that a tuple of them takes.
    """
    return b"".join((plan.cache_key, page_size.to_bytes(8, "big", signed=True), cursor))


class PageLookup(Protocol):
    """Finds pages that need no read."""

    def cached_page(self, key: PageKey, policy: CachePolicy) -> Page | None:
        """Return a page that is cached and fresh, None if it has to be read.

        It is the page that `PageReader.read_page` would return at once, for a read without a
        budget.
        """


class PageReader(Protocol):
    """Reads pages."""

    async def read_page(self, request: PageRead) -> Page:
        """Return the page that begins at the request's cursor.

        Raises BackendUnavailable, DeadlineExceeded (with nothing to show), PreconditionFailed
        (index gone; not cached) and TableNotFound.
        """
