"""Steps of a walk to response bytes: stored items first, then what is this call's own."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from dynamodb_processor.v1 import query_pb2
from dynamodb_processor.v1.query_service_pb2 import QueryResponse, StreamQueryResponse
from dynamodb_processor_server.query.plan import Plan
from dynamodb_processor_server.reading.port import NO_USAGE, CacheStatus, Page, PageEnd, Usage
from dynamodb_processor_server.reading.traversal import Step

_ENDS: Final = {end: query_pb2.PageEnd.Value(f"PAGE_END_{end.value}") for end in PageEnd}
_STATUSES: Final = {
    status: query_pb2.CacheStatus.Value(f"CACHE_STATUS_{status.value}") for status in CacheStatus
}


def query_response(step: Step, plan: Plan, token: str) -> bytes:
    """Return the bytes of a `QueryResponse`."""
    content, usage = step.page.content, step.page.usage
    rest = QueryResponse(next_page_token=token)
    if usage.backend_calls:
        _set_usage(rest.stats, usage)  # parsers merge the two halves of `stats`
    _set_cache_info(rest.cache, step.page)
    fixed = _fixed(content.end, content.count, plan.path.index, content.read_at)
    return b"".join((content.items, fixed, rest.SerializeToString()))


@lru_cache(maxsize=10_000)
def _fixed(end: PageEnd, count: int, index: str | None, read_at: float) -> bytes:
    """Return the fields of a `QueryResponse` that are the same whenever a stored page is served."""
    response = QueryResponse(end=_ENDS[end])
    _set_stats(response.stats, count, NO_USAGE, index)
    _set_seconds(response.read_time, read_at)
    return response.SerializeToString()


def stream_response(step: Step, plan: Plan, token: str, sequence: int) -> bytes:
    """Return the bytes of a `StreamQueryResponse`."""
    content = step.page.content
    rest = StreamQueryResponse(
        resume_token=token, end=_ENDS[content.end], sequence=sequence, last=step.last
    )
    _set_stats(rest.stats, content.count, step.page.usage, plan.path.index)
    _set_stats(rest.cumulative, step.items, step.usage, plan.path.index)
    _set_cache_info(rest.cache, step.page)
    _set_seconds(rest.read_time, content.read_at)
    return content.items + rest.SerializeToString()


# Messages are filled in place: built on their own and handed over, they would be copied.


def _set_stats(stats: query_pb2.PageStats, items: int, usage: Usage, index: str | None) -> None:
    stats.items_returned = items
    stats.index_used = index or ""
    if usage.backend_calls:
        _set_usage(stats, usage)


def _set_usage(stats: query_pb2.PageStats, usage: Usage) -> None:
    stats.items_scanned = usage.items_scanned
    stats.read_units = usage.read_units
    stats.backend_calls = usage.backend_calls
    stats.throttle_retries = usage.retries
    _set_seconds(stats.backend_time, usage.backend_time)


def _set_cache_info(info: query_pb2.CacheInfo, page: Page) -> None:
    info.status = _STATUSES[page.status]
    if page.age:
        _set_seconds(info.age, page.age)
    if page.expires_in is not None:
        _set_seconds(info.expires_in, page.expires_in)


def _set_seconds(target: Duration | Timestamp, seconds: float) -> None:
    whole = int(seconds)
    target.seconds = whole
    target.nanos = int((seconds - whole) * 1e9)
