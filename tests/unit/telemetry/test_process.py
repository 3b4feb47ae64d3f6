"""Tests of the metrics of the process and of the page cache."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from dynamodb_processor_server.cache.page_store import PageStore
from dynamodb_processor_server.runtime.loop_lag import LoopLag
from dynamodb_processor_server.telemetry.cache import CacheMetrics
from dynamodb_processor_server.telemetry.labels import Labels
from dynamodb_processor_server.telemetry.process import ProcessMetrics


def test_the_process_shows_readiness_lag_and_bounds() -> None:
    """They are read when they are scraped."""
    registry, lag, ready = CollectorRegistry(), LoopLag(), [False]
    ProcessMetrics(registry, lag, lambda: ready[0], {"max_calls": 7})
    assert registry.get_sample_value("dynamodb_processor_ready") == 0
    ready[0] = True
    lag.seconds.observe(0.02)
    lag.seconds.observe(9.0)
    sample = registry.get_sample_value
    assert sample("dynamodb_processor_ready") == 1
    assert sample("dynamodb_processor_event_loop_lag_seconds_bucket", {"le": "0.025"}) == 1
    assert sample("dynamodb_processor_event_loop_lag_seconds_bucket", {"le": "+Inf"}) == 2
    assert sample("dynamodb_processor_bound", {"setting": "max_calls"}) == 7
    assert (sample("dynamodb_processor_memory_limit_bytes") or 0) > 0


def test_lookups_and_evictions_of_the_cache_are_shown_by_table() -> None:
    """They come from the statistics that the store keeps anyway."""
    registry, store = CollectorRegistry(), PageStore(1_000_000, lambda: 0.0)
    CacheMetrics(registry, store, Labels())
    stats = store.stats("events")
    stats.hits, stats.misses, stats.evictions = 5, 2, 1
    stats.items, stats.item_hits, stats.item_misses, stats.item_refreshes = 3, 7, 8, 9
    sample = registry.get_sample_value
    lookups = "dynamodb_processor_cache_lookups_total"
    assert sample(lookups, {"table": "events", "result": "hit"}) == 5
    assert sample(lookups, {"table": "events", "result": "miss"}) == 2
    assert sample("dynamodb_processor_cache_evictions_total", {"table": "events"}) == 1
    items = "dynamodb_processor_cache_item_lookups_total"
    assert sample(items, {"table": "events", "result": "hit"}) == 7
    assert sample(items, {"table": "events", "result": "miss"}) == 8
    assert sample("dynamodb_processor_cache_item_refreshes_total", {"table": "events"}) == 9
    assert sample("dynamodb_processor_cached_items") == 3
