"""Spans of reads of pages: look-ups in both caches, reads, and waits for reads of other calls."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Coroutine, Hashable
from math import inf
from typing import Any, Final
from weakref import WeakKeyDictionary

from opentelemetry.trace import Link, Span, SpanContext

from dynamodb_processor_server.cache.coalescing import (
    DEFAULT_COALESCING_TIMEOUT,
    CoalescingReader,
)
from dynamodb_processor_server.cache.fill import FillingReader
from dynamodb_processor_server.cache.freshness import Freshness, not_followed
from dynamodb_processor_server.cache.generations import Generations
from dynamodb_processor_server.cache.page_flights import PageFlight, PageFlights
from dynamodb_processor_server.cache.page_store import PageStore
from dynamodb_processor_server.cache.quarantine import Quarantine
from dynamodb_processor_server.cache.reader import CachingReader
from dynamodb_processor_server.cache.redis.encryption import ExpiringPage
from dynamodb_processor_server.cache.redis.shared_cache import (
    FillLease,
    SharedLookup,
    SharedPageCache,
)
from dynamodb_processor_server.query.planning.plan import Plan
from dynamodb_processor_server.reader import (
    CachePolicy,
    Page,
    PageContent,
    PageKey,
    PageRead,
    PageReader,
    PartialRead,
    ReadOptions,
)
from dynamodb_processor_server.telemetry.tracing.spans import Spans, using

#: The names of the spans of this module.
LOOK_UP: Final = "look up page"
LOOK_UP_SHARED: Final = "look up shared page"
READ: Final = "read page"
JOIN: Final = "join read"
_RESULT: Final = "dynamodb_processor.cache"


def traced_cached_reader(
    spans: Spans,
    reader: PageReader,
    store: PageStore,
    generations: Generations,
    read_timeout: float,
    quarantine: Quarantine,
    shared: SharedPageCache | None = None,
    now: Callable[[], float] = time.time,
    jitter: Callable[[], float] = random.random,
    coalescing_timeout: float = DEFAULT_COALESCING_TIMEOUT,
    followed_until: Callable[[Plan], float] = not_followed,
) -> CachingReader:
    """Return the readers of `cached_reader` with spans."""
    traced = None if shared is None else _TracedSharedPages(shared, spans)
    freshness = Freshness(quarantine, followed_until, now)
    filling = FillingReader(reader, store, quarantine, traced, freshness, now, jitter)
    coalescing = CoalescingReader(
        _TracedReads(filling, spans),
        generations,
        quarantine,
        shared,
        freshness,
        read_timeout,
        coalescing_timeout,
        _TracedFlights(spans),
    )
    uncached = _TracedReads(reader, spans)
    return _TracedCachingReader(spans, coalescing, uncached, store, freshness, shared, now)


class _TracedCachingReader(CachingReader):
    """Makes a span of each look-up in the cache of this replica."""

    def __init__(self, spans: Spans, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._spans = spans

    def _find(
        self, key: PageKey, policy: CachePolicy, grace: float, plan: Plan | None = None
    ) -> Page | None:
        with self._spans.child(LOOK_UP) as span:
            page = super()._find(key, policy, grace, plan)
            span.set_attribute(_RESULT, "MISS" if page is None else page.status.value)
            return page


class _TracedReads:
    """Makes a span of each read that callers do not share; `_TracedFlights` does of the others."""

    def __init__(self, reader: PageReader, spans: Spans) -> None:
        self._reader = reader
        self._spans = spans

    async def read_page(self, request: PageRead) -> Page:
        """Return a page of the reader; see `PageReader`."""
        if request.progress is not None:
            return await self._reader.read_page(request)
        with self._spans.child(READ) as span:
            page = await self._reader.read_page(request)
            _describe(span, page)
            return page


class _TracedFlights(PageFlights):
    """Makes a span of each read that callers share, and links the waits of others to it.

    The span belongs to the call that started the read, and may end after that call.
    """

    def __init__(self, spans: Spans) -> None:
        super().__init__()
        self._spans = spans
        self._contexts: WeakKeyDictionary[PageFlight, SpanContext] = WeakKeyDictionary()

    async def join(
        self, key: Hashable, flight: PageFlight, options: ReadOptions, patience: float = inf
    ) -> Page:
        """Wait for a flight; the wait of a call that did not start it has a span with a link."""
        if not flight.waiters:  # only the call that has just started a flight finds it so
            return await super().join(key, flight, options, patience)
        links = [Link(self._contexts[flight])] if flight in self._contexts else []
        with self._spans.child(JOIN, links=links) as span:
            page = await super().join(key, flight, options, patience)
            _describe(span, page)
            return page

    def start(
        self,
        key: Hashable,
        read: Callable[[PartialRead], Coroutine[Any, Any, Page]],
        began: float,
        *,
        attended: bool = True,
    ) -> PageFlight:
        """Begin a flight with a span, which is the parent of the requests that it makes."""
        span = self._spans.start(READ)

        async def traced(progress: PartialRead) -> Page:
            with using(span):
                page = await read(progress)
                _describe(span, page)
                return page

        flight = super().start(key, traced, began, attended=attended)
        if span.get_span_context().is_valid:
            self._contexts[flight] = span.get_span_context()
        return flight


class _TracedSharedPages:
    """Makes a span of each look-up in the cache that replicas share."""

    def __init__(self, shared: SharedPageCache, spans: Spans) -> None:
        self._shared = shared
        self._spans = spans

    async def find(self, lookup: SharedLookup) -> ExpiringPage | FillLease | None:
        """Return what the shared cache has; see `SharedPageCache`."""
        with self._spans.child(LOOK_UP_SHARED) as span:
            found = await self._shared.find(lookup)
            result = "SHARED_HIT" if isinstance(found, ExpiringPage) else "MISS"
            span.set_attribute(_RESULT, "UNAVAILABLE" if found is None else result)
            return found

    def store(self, lease: FillLease, content: PageContent, expires: float) -> None:
        """Store a page; see `SharedPageCache`."""
        self._shared.store(lease, content, expires)

    def release(self, lease: FillLease) -> None:
        """Give a lease back; see `SharedPageCache`."""
        self._shared.release(lease)


def _describe(span: Span, page: Page) -> None:
    """Record the size of a page, the reason for its end, and its cost."""
    if span.is_recording():
        span.set_attribute("dynamodb_processor.items", page.content.count)
        span.set_attribute("dynamodb_processor.page_end", page.content.end.value)
        span.set_attribute("dynamodb_processor.read_units", page.usage.read_units)
        span.set_attribute("dynamodb_processor.retries", page.usage.retries)
