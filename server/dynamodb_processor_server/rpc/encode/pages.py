"""Converts page results to response bytes: the stored items, then the fields of this call."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from dynamodb_processor.v1 import query_pb2
from dynamodb_processor.v1.query_service_pb2 import (
    CountItemsResponse,
    QueryResponse,
    StreamQueryResponse,
)
from dynamodb_processor_server.auth.principal import Principal
from dynamodb_processor_server.errors import ItemTooLarge
from dynamodb_processor_server.pager.pager import PageResult
from dynamodb_processor_server.query.freshness_token import FreshnessBound
from dynamodb_processor_server.query.planning.plan import Disclosure
from dynamodb_processor_server.reader import (
    NO_USAGE,
    CacheStatus,
    Page,
    PageContent,
    PageEnd,
    Total,
    Usage,
    total_of,
)
from dynamodb_processor_server.rpc.page_cursors import (
    LONGEST_REMEMBERED_TOKEN,
    FreshnessTokens,
    PageTokens,
)
from dynamodb_processor_server.rpc.resume_point import RememberedHead, ResumePoint

_MAX_ERROR_TOKEN: Final = 2_000  # characters: all trailers of a call have about 8 KB
_ENDS: Final = {end: query_pb2.PageEnd.Value(f"PAGE_END_{end.value}") for end in PageEnd}
_STATUSES: Final = {
    status: query_pb2.CacheStatus.Value(f"CACHE_STATUS_{status.value}") for status in CacheStatus
}


def _heads(field: int) -> tuple[bytes, ...]:
    """Return the heads (tag and length) of a message in a field, by its length up to 63 bytes."""
    return tuple([bytes((field << 3 | 2, size)) for size in range(64)])


# The wire format of a `CacheInfo`, of which each hit has a new one. Making the message and its
# durations takes five times as long as everything else in a hit's response.
_CACHE_HEADS: Final = _heads(5)
_CACHE_HEADS_OF_GETS: Final = _heads(4)
_AGE_HEADS: Final = _heads(2)
_EXPIRES_IN_HEADS: Final = _heads(3)
_STATUS_FIELDS: Final = {status: bytes((1 << 3, value)) for status, value in _STATUSES.items()}
_MILLISECONDS: Final = [Duration(nanos=n * 1_000_000).SerializeToString() for n in range(1_000)]


def query_response(page: Page, shown: Disclosure, head: bytes, total: Total | None = None) -> bytes:
    """Return the bytes of a `QueryResponse` with the fields of `response_head`."""
    cache = _cache_field(page) if _shows_cache_info(page, shown) else b""
    if total is None:
        return b"".join((page.content.items, head, cache))
    rest = QueryResponse()
    _set_total(rest.total, total)
    return b"".join((page.content.items, head, cache, rest.SerializeToString()))


def response_head(page: Page, shown: Disclosure, token: str) -> bytes:
    """Return the fields of a `QueryResponse` that are the same for each hit of a cached page.

    The parts of a response have no field in common but the repeated `items`: some parsers merge the
    two halves of a field that occurs twice, and some keep the second only.
    """
    content, usage = page.content, NO_USAGE
    response = QueryResponse(end=_ENDS[content.end], next_page_token=token)
    if _shows_cache_info(page, shown):
        usage = _visible_usage(page.usage, shown)
        set_seconds(response.read_time, content.read_at)
    _set_stats(response.stats, content.count, usage, shown.index_used)
    return response.SerializeToString()


def _cache_field(page: Page) -> bytes:
    """Return the field `cache` of a `QueryResponse`, with durations in whole milliseconds."""
    info = _cache_info(page.status, page.age, page.expires_in)
    return _CACHE_HEADS[len(info)] + info


def cache_field_of_gets(status: CacheStatus, age: float, expires_in: float) -> bytes:
    """Return the field `cache` of a `BatchGetItemsResponse`, as that of a `QueryResponse`."""
    info = _cache_info(status, age, expires_in)
    return _CACHE_HEADS_OF_GETS[len(info)] + info


def _cache_info(status: CacheStatus, age: float, expires_in: float | None) -> bytes:
    info = _STATUS_FIELDS[status]
    if age:
        info += _duration_field(_AGE_HEADS, age)
    if expires_in is not None:
        info += _duration_field(_EXPIRES_IN_HEADS, expires_in)
    return info


def _duration_field(heads: Sequence[bytes], seconds: float) -> bytes:
    whole, milliseconds = divmod(int(seconds * 1_000), 1_000)
    value = _whole_seconds(whole) + _MILLISECONDS[milliseconds]
    return heads[len(value)] + value


@lru_cache(maxsize=4_096)
def _whole_seconds(seconds: int) -> bytes:
    return Duration(seconds=seconds).SerializeToString()


def freshness_field(token: str) -> bytes:
    """Return the field `freshness_token` of a `QueryResponse`."""
    return QueryResponse(freshness_token=token).SerializeToString()


def stream_response(
    result: PageResult, shown: Disclosure, token: str, sequence: int, freshness: str
) -> bytes:
    """Return the bytes of a `StreamQueryResponse`."""
    content = result.page.content
    rest = StreamQueryResponse(
        resume_token=token,
        end=_ENDS[content.end],
        sequence=sequence,
        last=result.last,
        freshness_token=freshness,
    )
    usage, cumulative = NO_USAGE, NO_USAGE
    if _shows_cache_info(result.page, shown):
        usage, cumulative = (
            _visible_usage(result.page.usage, shown),
            _visible_usage(result.usage, shown),
        )
        _set_page_info(rest.cache, result.page)
        set_seconds(rest.read_time, content.read_at)
    _set_stats(rest.stats, content.count, usage, shown.index_used)
    _set_stats(rest.cumulative, result.items, cumulative, shown.index_used)
    if result.total is not None:
        _set_total(rest.total, result.total)
    return content.items + rest.SerializeToString()


def count_response(
    result: PageResult, bound: int, shown: Disclosure, token: str, freshness: str
) -> CountItemsResponse:
    """Return a `CountItemsResponse`; `bound` 0 means no bound, and a count ends at its bound."""
    content = result.page.content
    reached = 0 < bound <= result.returned
    response = CountItemsResponse(
        next_page_token="" if reached else token,
        end=_ENDS[content.end],
        freshness_token=freshness,
    )
    if 0 < bound < result.returned:
        response.end = query_pb2.PAGE_END_PAGE_FULL
    total = total_of(result.returned, bound, exhausted=content.next is None)
    _set_total(response.total, total)
    usage = NO_USAGE
    if _shows_cache_info(result.page, shown):
        usage = _visible_usage(result.page.usage, shown)
        _set_page_info(response.cache, result.page)
        set_seconds(response.read_time, content.read_at)
    _set_stats(response.stats, 0, usage, shown.index_used)
    return response


# Nested messages are filled in place, because assigning a finished one would copy it.


def _set_total(message: query_pb2.Total, total: Total) -> None:
    message.value = total.value
    message.relation = (
        query_pb2.TOTAL_RELATION_EXACT if total.exact else query_pb2.TOTAL_RELATION_AT_LEAST
    )


def _shows_cache_info(page: Page, shown: Disclosure) -> bool:
    """Return whether a caller may see the read time and the cost of a page.

    Under a row rule, a cache hit or a miss reveals whether any item was written since, hidden items
    included. A read that bypasses the cache does not reveal that.
    """
    return not shown.hides_writes or page.status is CacheStatus.BYPASSED


def _visible_usage(usage: Usage, shown: Disclosure) -> Usage:
    """Return the cost that a caller may see: none where hidden items are part of it."""
    return NO_USAGE if shown.hides_cost else usage


def _set_stats(stats: query_pb2.PageStats, items: int, usage: Usage, index: str) -> None:
    stats.items_returned = items
    stats.index_used = index
    if usage.backend_calls:
        set_usage(stats, usage)


def set_usage(stats: query_pb2.PageStats, usage: Usage) -> None:
    """Set the statistics of a call's requests to DynamoDB."""
    stats.items_scanned = usage.items_scanned
    stats.read_units = usage.read_units
    stats.backend_calls = usage.backend_calls
    stats.throttle_retries = usage.retries
    set_seconds(stats.backend_time, usage.backend_time)


def _set_page_info(info: query_pb2.CacheInfo, page: Page) -> None:
    set_cache_info(info, page.status, page.age, page.expires_in)


def set_cache_info(
    info: query_pb2.CacheInfo, status: CacheStatus, age: float, expires_in: float | None
) -> None:
    """Set the part that the cache had in an answer; times are in seconds."""
    info.status = _STATUSES[status]
    if age:
        set_seconds(info.age, age)
    if expires_in is not None:
        set_seconds(info.expires_in, expires_in)


class ResponseHeads:
    """The fields of responses beside their items, of calls that begin at resume points."""

    def __init__(self, tokens: PageTokens, freshness: FreshnessTokens) -> None:
        self._tokens = tokens
        self._freshness = freshness

    def head(
        self,
        start: ResumePoint,
        principal: Principal,
        page: Page,
        returned: int,
        bound: FreshnessBound | None = None,
        result: PageResult | None = None,
    ) -> bytes:
        """Return the fields of a response that are the same for each hit, remembered if they fit.

        Those of a page that was just read are not remembered: it may never be requested again.

        Args:
            start: The point at which the page begins.
            principal: The caller, to whom its token is bound.
            page: The page.
            returned: The items of the whole query so far, those of the page included.
            bound: The call's bound on freshness, None for none.
            result: The result of a pager that the page is of; None for a page of the cache alone.
        """
        known, content, is_read = start.head, page.content, page.usage.backend_calls
        now = self._tokens.now()
        if known is not None and not is_read and _fits(known, content, returned, now):
            if known.freshness and (bound is None or bound.until <= known.fresh_until):
                return known.data + known.freshness
            return known.data + self._freshness_field(start, page, bound, result)
        token = self._tokens.seal(start, principal, content.next, returned)
        data = response_head(page, start.disclosure, token)
        freshness = self._freshness_field(start, page, bound, result)
        if not is_read and len(token) <= LONGEST_REMEMBERED_TOKEN:
            fresh_until = min(content.read_until, now)
            # Under a row rule, equal tokens would tell that the page was cached. That of a page
            # with a total stands for the count as well.
            is_kept = (
                not start.disclosure.hides_writes
                and (result is None or result.total is None)
                and (bound is None or bound.until <= fresh_until)
            )
            kept = freshness if is_kept else b""
            issued = start.last_issued_token
            start.head = RememberedHead.of(content, returned, issued, data, kept, fresh_until)
            start.last_issued_token = None  # it is part of the head
        return data + freshness

    def _freshness_field(
        self,
        start: ResumePoint,
        page: Page,
        bound: FreshnessBound | None,
        result: PageResult | None,
    ) -> bytes:
        content, hides_writes = page.content, start.disclosure.hides_writes
        read_until, pages = content.read_until, content.digest
        if result is not None:
            read_until, pages = result.read_until, result.pages
        seal = self._freshness.seal
        return freshness_field(seal(read_until, pages, hides_writes=hides_writes, bound=bound))

    def token(self, start: ResumePoint, principal: Principal, result: PageResult) -> str:
        """Return the token of the page that follows a result; see `PageTokens.seal`."""
        return self._tokens.seal(start, principal, result.page.content.next, result.returned)

    def freshness(
        self,
        start: ResumePoint,
        result: PageResult,
        bound: FreshnessBound | None,
        sequence: int = 1,
    ) -> str:
        """Return the freshness token of a count, or of the message of a stream with this number.

        Pages of one stream need not show what others of it did. So the token names the page of the
        first message only.
        """
        pages = result.pages if sequence == 1 else b""
        hides_writes = start.disclosure.hides_writes
        return self._freshness.seal(
            result.read_until, pages, hides_writes=hides_writes, bound=bound
        )

    def with_token(
        self, error: ItemTooLarge, start: ResumePoint, principal: Principal, returned: int
    ) -> ItemTooLarge:
        """Return the error with the token that goes on behind its item, if an error has room."""
        token = self._tokens.seal(start, principal, error.behind, returned)
        return error.with_token(token if len(token) <= _MAX_ERROR_TOKEN else "")


def _fits(head: RememberedHead, content: PageContent, returned: int, now: float) -> bool:
    """Return whether remembered fields are also those of another page."""
    return (
        now < head.until
        and content.read_at == head.read_at
        and content.next == head.cursor
        and returned == head.returned
        and content.count == head.count
        and content.end is head.end
    )


def set_seconds(target: Duration | Timestamp, seconds: float) -> None:
    """Set a duration, or a time since the epoch."""
    whole = int(seconds)
    target.seconds = whole
    target.nanos = int((seconds - whole) * 1e9)
