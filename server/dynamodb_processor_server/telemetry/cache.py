"""Prometheus metrics of the page cache of this replica."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from dynamodb_processor_server.cache.page_store import PageStore
from dynamodb_processor_server.telemetry.families import PREFIX, counter
from dynamodb_processor_server.telemetry.labels import Labels


class CacheMetrics(Collector):
    """The size of the page store, and its lookups and evictions by table."""

    def __init__(self, registry: CollectorRegistry, store: PageStore, labels: Labels) -> None:
        self._store = store
        self._name = labels.tables.of
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield everything as it is now; runs in the thread that is scraped."""
        store = self._store
        text = "Size of the cached pages, of cache_max_bytes."
        yield GaugeMetricFamily(f"{PREFIX}cached_bytes", text, value=store.bytes_used)
        text = "Number of cached pages."
        yield GaugeMetricFamily(f"{PREFIX}cached_pages", text, value=len(store))
        tables = [(self._name(table), stats) for table, stats in list(store.all_stats.items())]
        lookups = [
            ((table, result), count)
            for table, stats in tables
            for result, count in (("hit", stats.hits), ("miss", stats.misses))
        ]
        text = "Lookups of pages in the cache of this replica, by result."
        yield counter("cache_lookups", text, ("table", "result"), lookups)
        evictions = [((table,), stats.evictions) for table, stats in tables]
        text = "Cached pages that made room for others."
        yield counter("cache_evictions", text, ("table",), evictions)
