"""The result of a count."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from dynamodb_processor.v1 import query_pb2
from dynamodb_processor.v1.query_service_pb2 import CountItemsResponse
from dynamodb_processor_client.pages import CacheInfo, PageEnd, PageStats


@dataclass(frozen=True, slots=True)
class Count:
    """How many items a query matches.

    Attributes:
        value: The number counted.
        exact: Whether `value` is the total; if not, it is a lower bound.
        next_page_token: The token to continue a count that a budget ended; else empty.
        end: Why counting ended.
        stats: The cost over all calls of the count.
        cache: The cache information of the last call.
        read_time: When counting began, in UTC; `None` if nothing was read.
        freshness_token: For `CachePolicy.not_before_token` of later calls.
    """

    value: int
    exact: bool
    next_page_token: str
    end: PageEnd
    stats: PageStats
    cache: CacheInfo
    read_time: datetime | None
    freshness_token: str = ""

    @classmethod
    def from_message(
        cls, response: CountItemsResponse, stats: PageStats, read_time: datetime | None
    ) -> Count:
        """Return the count of the last response, with the statistics and time of all responses."""
        return cls(
            value=response.total.value,
            exact=response.total.relation == query_pb2.TOTAL_RELATION_EXACT,
            next_page_token=response.next_page_token,
            end=PageEnd(response.end),
            stats=stats,
            cache=CacheInfo.from_message(response.cache),
            read_time=read_time,
            freshness_token=response.freshness_token,
        )
