"""The service's cache: the request to invalidate pages, and the counters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dynamodb_processor.v1 import cache_service_pb2
from dynamodb_processor_client import argument_checks as check
from dynamodb_processor_client.gets import key_message
from dynamodb_processor_client.values import Value


@dataclass(frozen=True, slots=True)
class CacheCounters:
    """Counters of a cache: `entries` and `bytes` are current, the others start with the replica.

    Attributes:
        entries: Pages in the cache.
        bytes: Size of these pages.
        hits: Reads that the cache answered.
        misses: Reads that did not find their page in the cache.
        evictions: Pages that were removed to make room for others.
    """

    entries: int
    bytes: int
    hits: int
    misses: int
    evictions: int

    @classmethod
    def from_message(cls, stats: cache_service_pb2.CacheStats) -> CacheCounters:
        """Return the counters in a message."""
        return cls(stats.entries, stats.bytes, stats.hits, stats.misses, stats.evictions)


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
