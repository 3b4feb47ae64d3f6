"""What comes back: pages, and what each says about itself."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from google.protobuf.duration_pb2 import Duration

from dynamodb_processor.v1 import query_pb2
from dynamodb_processor.v1.query_service_pb2 import (
    BatchGetItemsResponse,
    CountItemsResponse,
    QueryResponse,
    StreamQueryResponse,
)
from dynamodb_processor_client.errors import Internal
from dynamodb_processor_client.values import Item, decode_item


class PageEnd(enum.Enum):
    """Why a page ends where it ends."""

    UNKNOWN = 0
    """A reason that this client does not know."""
    PAGE_FULL = 1
    """The page holds as many items as were asked for."""
    EXHAUSTED = 2
    """There is nothing more."""
    MAX_ITEMS = 3
    """The traversal has returned `max_items` items."""
    SCAN_BUDGET = 4
    """`Budget.max_scanned_items` was reached."""
    READ_UNIT_BUDGET = 5
    """`Budget.max_read_units` was reached."""
    TIME_BUDGET = 6
    """`Budget.max_duration`, the deadline or a stream's progress interval was reached."""
    RESPONSE_BYTES = 7
    """One more item would have made the message too large."""

    @classmethod
    def _missing_(cls, value: object) -> PageEnd:
        return cls.UNKNOWN


class CacheStatus(enum.Enum):
    """How the service's cache took part in an answer."""

    UNKNOWN = 0
    """Withheld, because a row rule applies; or a way that this client does not know."""
    HIT = 1
    """Answered from the cache of the replica that was asked."""
    SHARED_HIT = 2
    """Answered from the cache that replicas share."""
    MISS = 3
    """Not cached; read from DynamoDB."""
    COALESCED = 4
    """Shared the read of another call that was under way."""
    STALE = 5
    """Answered from the cache after its time: it is being read again, or cannot be."""
    BYPASSED = 6
    """Read from DynamoDB without looking in the cache."""

    @classmethod
    def _missing_(cls, value: object) -> CacheStatus:
        return cls.UNKNOWN


@dataclass(frozen=True, slots=True)
class PageStats:
    """What an answer took. All but the first are the call's own use of DynamoDB: 0 on a cache hit.

    Attributes:
        items_returned: Items in the answer.
        items_scanned: Items that DynamoDB evaluated for it.
        read_units: Read capacity units consumed.
        backend_calls: Requests made to DynamoDB.
        throttle_retries: Requests made again because DynamoDB refused or failed them.
        index_used: The index that was read; `None` for the base table.
        backend_time: Time spent waiting for DynamoDB.
    """

    items_returned: int = 0
    items_scanned: int = 0
    read_units: float = 0.0
    backend_calls: int = 0
    throttle_retries: int = 0
    index_used: str | None = None
    backend_time: timedelta = timedelta()

    def __add__(self, other: PageStats) -> PageStats:
        """Return the sum of two answers to one query."""
        return PageStats(
            items_returned=self.items_returned + other.items_returned,
            items_scanned=self.items_scanned + other.items_scanned,
            read_units=self.read_units + other.read_units,
            backend_calls=self.backend_calls + other.backend_calls,
            throttle_retries=self.throttle_retries + other.throttle_retries,
            index_used=other.index_used or self.index_used,
            backend_time=self.backend_time + other.backend_time,
        )

    @classmethod
    def from_message(cls, stats: query_pb2.PageStats) -> PageStats:
        """Return what the message says."""
        return cls(
            items_returned=stats.items_returned,
            items_scanned=stats.items_scanned,
            read_units=stats.read_units,
            backend_calls=stats.backend_calls,
            throttle_retries=stats.throttle_retries,
            index_used=stats.index_used or None,
            backend_time=timedelta_of(stats.backend_time),
        )


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """Where an answer came from.

    Attributes:
        status: How the cache took part.
        age: How long ago the items were read; zero for a fresh read.
        expires_in: How long the answer stays cached; `None` when it is not stored.
    """

    status: CacheStatus
    age: timedelta
    expires_in: timedelta | None

    @classmethod
    def from_message(cls, info: query_pb2.CacheInfo) -> CacheInfo:
        """Return what the message says."""
        return cls(
            status=CacheStatus(info.status),
            age=timedelta_of(info.age),
            expires_in=timedelta_of(info.expires_in) if info.HasField("expires_in") else None,
        )


@dataclass(frozen=True, slots=True)
class Total:
    """How many items a query matches; as many or more if it is not `exact`."""

    value: int
    exact: bool

    @classmethod
    def from_message(cls, total: query_pb2.Total) -> Total:
        """Return what the message says."""
        return cls(total.value, total.relation == query_pb2.TOTAL_RELATION_EXACT)


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a result.

    Attributes:
        items: The items, in order. May be short or empty although more follow.
        next_page_token: Where to go on, with `query`, `pages` or `stream` alike; empty only when
            there is nothing more.
        end: Why the page ends here.
        stats: What the page took.
        cache: Where the page came from.
        read_time: When its items were read from DynamoDB, in UTC; `None` if nothing was.
        total: How many items the whole query matches; `None` if it was not asked for.
    """

    items: tuple[Item, ...]
    next_page_token: str
    end: PageEnd
    stats: PageStats
    cache: CacheInfo
    read_time: datetime | None
    total: Total | None = None

    @classmethod
    def from_message(cls, message: QueryResponse | StreamQueryResponse) -> Page:
        """Return the page that an answer, or one message of a stream, holds."""
        return cls(
            items=tuple(decode_item(item) for item in message.items),
            next_page_token=(
                message.next_page_token
                if isinstance(message, QueryResponse)
                else message.resume_token
            ),
            end=PageEnd(message.end),
            stats=PageStats.from_message(message.stats),
            cache=CacheInfo.from_message(message.cache),
            read_time=read_time_of(message),
            total=Total.from_message(message.total) if message.HasField("total") else None,
        )


def read_time_of(
    message: QueryResponse | StreamQueryResponse | CountItemsResponse | BatchGetItemsResponse,
) -> datetime | None:
    """Return when an answer was read, in UTC; `None` if nothing was.

    Raises:
        Internal: It is no time.
    """
    if not message.HasField("read_time"):
        return None
    try:
        return message.read_time.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise Internal("the service sent a bad time", reason="BAD_ANSWER") from error


def timedelta_of(duration: Duration) -> timedelta:
    """Return a duration of an answer.

    Raises:
        Internal: It is longer than any.
    """
    try:
        return duration.ToTimedelta()
    except (ValueError, OverflowError) as error:
        raise Internal("the service sent a bad duration", reason="BAD_ANSWER") from error
