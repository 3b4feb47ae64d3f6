"""Counting: the result, and the loop over the calls that a count needs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TypeAlias

from dynamodb_processor.v1 import query_pb2
from dynamodb_processor.v1.query_service_pb2 import CountItemsRequest, CountItemsResponse
from dynamodb_processor_client.deadlines import Deadline
from dynamodb_processor_client.errors import QueryError
from dynamodb_processor_client.options import Budget
from dynamodb_processor_client.pages import CacheInfo, PageEnd, PageStats, read_time_of
from dynamodb_processor_client.progress import (
    IdleCalls,
    has_progressed,
    is_cut_by_service,
    no_progress,
)

CountCall: TypeAlias = Callable[[CountItemsRequest, float | None], Awaitable[CountItemsResponse]]


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
    """

    value: int
    exact: bool
    next_page_token: str
    end: PageEnd
    stats: PageStats
    cache: CacheInfo
    read_time: datetime | None

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
        )


async def count_all(
    call: CountCall, request: CountItemsRequest, budget: Budget | None, deadline: Deadline
) -> Count:
    """Return the count, with a further call where the service's time limit ended the last one.

    Raises:
        QueryError: The service refused or makes no progress, or the deadline passed. The error's
            `resume_token` continues the count.
    """
    stats, read_time, progress = PageStats(), None, ""
    idle_calls, value = IdleCalls(), 0
    while True:
        left = budget.after(stats, deadline.elapsed) if budget else None
        if left is not None:
            request.budget.CopyFrom(left.to_message())
        began = deadline.elapsed
        try:
            response = await deadline.call(partial(call, request), progress)
        except QueryError as error:
            error.resume_token = request.page_token
            raise
        its_stats = PageStats.from_message(response.stats)
        stats += its_stats
        read_time = read_time or read_time_of(response)
        before, request.page_token = request.page_token, response.next_page_token
        progress = f"{response.total.value} items were counted by then"
        is_spent = budget is not None and budget.after(stats, deadline.elapsed) is None
        is_cut = is_cut_by_service(response.end, response.next_page_token, budget)
        if is_spent or not is_cut:
            return Count.from_message(response, stats, read_time)
        if before == response.next_page_token:
            raise no_progress("a count returned the token of its own request")
        seconds = (deadline.elapsed - began).total_seconds()
        is_further = has_progressed(before, response.next_page_token, its_stats, seconds)
        idle_calls.record(progressed=is_further or response.total.value > value)
        value = response.total.value
