"""Counting: a number, and the calls that it takes."""

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
        exact: Whether that is all; if not, there are as many or more.
        next_page_token: Where to go on counting after a budget ended it; else empty.
        end: Why counting ended.
        stats: What it took, over all the calls that it needed.
        cache: Where the (last part of the) number came from.
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
    """Return the count, asking on where the service's own limit on a call's time ended it.

    Raises:
        QueryError: The service refused, gets no further, or the time was over. `resume_token` goes
            on from there.
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
            raise no_progress("a count came with the token that it was asked for with")
        seconds = (deadline.elapsed - began).total_seconds()
        is_further = has_progressed(before, response.next_page_token, its_stats, seconds)
        idle_calls.record(progressed=is_further or response.total.value > value)
        value = response.total.value
