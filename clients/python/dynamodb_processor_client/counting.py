"""The loop over the calls that a count needs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias

from dynamodb_processor.v1.query_service_pb2 import CountItemsRequest, CountItemsResponse
from dynamodb_processor_client.counts import Count
from dynamodb_processor_client.deadlines import Deadline
from dynamodb_processor_client.errors import QueryError
from dynamodb_processor_client.options import Budget
from dynamodb_processor_client.pages import PageStats, read_time_of
from dynamodb_processor_client.progress import (
    IdleCalls,
    has_progressed,
    is_cut_by_service,
    no_progress,
)

CountCall: TypeAlias = Callable[[CountItemsRequest, float | None], Awaitable[CountItemsResponse]]


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
