"""Pages of items, with their statistics and cache information."""

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
from dynamodb_processor_client.frames import PageFrames
from dynamodb_processor_client.values import Item, decode_item


class PageEnd(enum.Enum):
    """Why a page ends."""

    UNKNOWN = 0
    """A reason that this client does not know."""
    PAGE_FULL = 1
    """The page has the requested number of items."""
    EXHAUSTED = 2
    """No item follows."""
    MAX_ITEMS = 3
    """All pages together have returned `max_items` items."""
    SCAN_BUDGET = 4
    """`Budget.max_scanned_items` was reached."""
    READ_UNIT_BUDGET = 5
    """`Budget.max_read_units` was reached."""
    TIME_BUDGET = 6
    """`Budget.max_duration`, the deadline or a stream's progress interval was reached."""
    RESPONSE_BYTES = 7
    """A further item would make the message too large."""

    @classmethod
    def _missing_(cls, value: object) -> PageEnd:
        return cls.UNKNOWN


class CacheStatus(enum.Enum):
    """The part of the service's cache in an answer."""

    UNKNOWN = 0
    """Withheld because a row rule applies, or a status that this client does not know."""
    HIT = 1
    """Answered from the cache of the replica that received the call."""
    SHARED_HIT = 2
    """Answered from the shared cache of the replicas."""
    MISS = 3
    """Not cached; read from DynamoDB."""
    COALESCED = 4
    """Answered by the read of another call that was in progress."""
    STALE = 5
    """Answered from the cache after expiry: a new read is in progress, or has failed."""
    BYPASSED = 6
    """Read from DynamoDB without a cache look-up."""

    @classmethod
    def _missing_(cls, value: object) -> CacheStatus:
        return cls.UNKNOWN


@dataclass(frozen=True, slots=True)
class PageStats:
    """The cost of an answer. All fields but the first count this call's own reads: 0 on a hit.

    Attributes:
        items_returned: Items in the answer.
        items_scanned: Items that DynamoDB evaluated for it.
        read_units: Read capacity units consumed.
        backend_calls: Requests made to DynamoDB.
        throttle_retries: Requests repeated because DynamoDB refused or failed them.
        index_used: The index that was read; `None` for the base table, and for an index whose key
            is not granted.
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
        """Return the sum for two answers to one query."""
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
        """Return the statistics in a message."""
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
    """The source of an answer: the cache or DynamoDB.

    Attributes:
        status: The part of the cache.
        age: The time since the items were read; zero for a fresh read.
        expires_in: The time until the cached answer expires; `None` if it is not stored.
    """

    status: CacheStatus
    age: timedelta
    expires_in: timedelta | None

    @classmethod
    def from_message(cls, info: query_pb2.CacheInfo) -> CacheInfo:
        """Return the cache information in a message."""
        return cls(
            status=CacheStatus(info.status),
            age=timedelta_of(info.age),
            expires_in=timedelta_of(info.expires_in) if info.HasField("expires_in") else None,
        )


@dataclass(frozen=True, slots=True)
class Total:
    """The number of items that a query matches; a lower bound if it is not `exact`."""

    value: int
    exact: bool

    @classmethod
    def from_message(cls, total: query_pb2.Total) -> Total:
        """Return the total in a message."""
        return cls(total.value, total.relation == query_pb2.TOTAL_RELATION_EXACT)


@dataclass(frozen=True, slots=True)
class Page(PageFrames):
    """One page of a result.

    Attributes:
        items: The items, in order. There may be few or none although more follow.
        next_page_token: The token of the next page, for `query`, `pages` and `stream` alike; empty
            only if no item follows.
        end: Why the page ends.
        stats: The cost of the page.
        cache: The source of the page.
        read_time: When the items were read from DynamoDB, in UTC; `None` if nothing was read.
        total: The number of items that the whole query matches; `None` if not requested.
        freshness_token: For `CachePolicy.not_before_token` of later calls. In a stream it covers
            the pages before as well.
    """

    items: tuple[Item, ...]
    next_page_token: str
    end: PageEnd
    stats: PageStats
    cache: CacheInfo
    read_time: datetime | None
    total: Total | None = None
    freshness_token: str = ""

    @classmethod
    def from_message(cls, message: QueryResponse | StreamQueryResponse) -> Page:
        """Return the page in a response, or in one message of a stream."""
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
            freshness_token=message.freshness_token,
        )

    def _page_items(self) -> tuple[Item, ...]:
        return self.items


def read_time_of(
    message: QueryResponse | StreamQueryResponse | CountItemsResponse | BatchGetItemsResponse,
) -> datetime | None:
    """Return the read time of a response, in UTC; `None` if nothing was read.

    Raises:
        Internal: Python cannot represent the time.
    """
    if not message.HasField("read_time"):
        return None
    try:
        return message.read_time.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise Internal("the service sent a bad time", reason="BAD_ANSWER") from error


def timedelta_of(duration: Duration) -> timedelta:
    """Return a duration of a response.

    Raises:
        Internal: Python cannot represent the duration.
    """
    try:
        return duration.ToTimedelta()
    except (ValueError, OverflowError) as error:
        raise Internal("the service sent a bad duration", reason="BAD_ANSWER") from error
