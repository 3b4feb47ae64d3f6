"""Prometheus metrics of the cache of this replica."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from dynamodb_processor_server.cache.page_store import PageStore
from dynamodb_processor_server.telemetry.families import PREFIX, counter
from dynamodb_processor_server.telemetry.labels import Labels


class CacheMetrics(Collector):
    """The size of the store of pages and items, and its lookups and evictions by table."""

    def __init__(self, registry: CollectorRegistry, store: PageStore, labels: Labels) -> None:
        self._store = store
        self._name = labels.tables.of
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield everything as it is now; runs in the thread that is scraped."""
        store = self._store
        text = "Size of the cached pages and items, of cache_max_bytes."
        yield GaugeMetricFamily(f"{PREFIX}cached_bytes", text, value=store.bytes_used)
        tables = [(self._name(table), stats) for table, stats in list(store.all_stats.items())]
        items = sum(stats.items for _, stats in tables)
        text = "Number of cached pages."
        yield GaugeMetricFamily(f"{PREFIX}cached_pages", text, value=len(store) - items)
        text = "Number of single items that are cached."
        yield GaugeMetricFamily(f"{PREFIX}cached_items", text, value=items)
        lookups = [
            ((table, result), count)
            for table, stats in tables
            for result, count in (("hit", stats.hits), ("miss", stats.misses))
        ]
        text = "Lookups of pages in the cache of this replica, by result."
        yield counter("cache_lookups", text, ("table", "result"), lookups)
        lookups = [
            ((table, result), count)
            for table, stats in tables
            for result, count in (("hit", stats.item_hits), ("miss", stats.item_misses))
        ]
        text = "Lookups of single items in the cache of this replica, by result."
        yield counter("cache_item_lookups", text, ("table", "result"), lookups)
        refreshes = [((table,), stats.item_refreshes) for table, stats in tables]
        text = "Cached items that were replaced by those of stream records."
        yield counter("cache_item_refreshes", text, ("table",), refreshes)
        evictions = [((table,), stats.evictions) for table, stats in tables]
        text = "Cached pages and items that made room for others."
        yield counter("cache_evictions", text, ("table",), evictions)
