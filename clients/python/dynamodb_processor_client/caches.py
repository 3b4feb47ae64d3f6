"""The service's cache: the request to invalidate it, and the counters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dynamodb_processor.v1 import cache_service_pb2
from dynamodb_processor_client import argument_checks as check
from dynamodb_processor_client.gets import key_message
from dynamodb_processor_client.values import Value


@dataclass(frozen=True, slots=True)
class CacheCounters:
    """Counters of a cache: `entries`, `bytes` and `item_entries` now, others since its start.

    Attributes:
        entries: Pages and single items in the cache.
        bytes: Size of these.
        hits: Reads of pages that the cache answered.
        misses: Reads that did not find their page in the cache.
        evictions: Pages and items that were removed to make room for others.
        item_entries: Single items in the cache.
        item_hits: Lookups of single items that the cache answered, one for each key.
        item_misses: Lookups that did not find their item in the cache.
        item_refreshes: Items that were replaced by those of stream records.
    """

    entries: int
    bytes: int
    hits: int
    misses: int
    evictions: int
    item_entries: int = 0
    item_hits: int = 0
    item_misses: int = 0
    item_refreshes: int = 0

    @classmethod
    def from_message(cls, stats: cache_service_pb2.CacheStats) -> CacheCounters:
        """Return the counters in a message."""
        return cls(
            stats.entries,
            stats.bytes,
            stats.hits,
            stats.misses,
            stats.evictions,
            stats.item_entries,
            stats.item_hits,
            stats.item_misses,
            stats.item_refreshes,
        )


@dataclass(frozen=True, slots=True)
class CacheStats:
    """Cache counters of one replica, in total and by table; `max_bytes` limits the cache's size."""

    total: CacheCounters
    tables: Mapping[str, CacheCounters]
    max_bytes: int

    @classmethod
    def from_message(cls, response: cache_service_pb2.GetCacheStatsResponse) -> CacheStats:
        """Return the counters in a response."""
        return cls(
            total=CacheCounters.from_message(response.total),
            tables={one.table: CacheCounters.from_message(one.stats) for one in response.tables},
            max_bytes=response.max_bytes,
        )


def invalidation(
    table: str, key: Mapping[str, Value] | None
) -> cache_service_pb2.InvalidateCacheRequest:
    """Return the request to invalidate a whole table, or the partitions that `key` names."""
    request = cache_service_pb2.InvalidateCacheRequest(table=check.text("table", table))
    if key is None:
        request.whole_table.SetInParent()
    else:
        with check.error_prefix("key"):
            request.partition_key.CopyFrom(key_message(key))
    return request
