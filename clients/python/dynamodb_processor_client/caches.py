"""What the service remembers: what to tell it of writes, and what it tells of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dynamodb_processor.v1 import cache_service_pb2
from dynamodb_processor_client import argument_checks as check
from dynamodb_processor_client.gets import key_message
from dynamodb_processor_client.values import Value


@dataclass(frozen=True, slots=True)
class CacheCounters:
    """How a cache is used: pages and bytes now, the rest since the replica began.

    Attributes:
        entries: Pages that are kept.
        bytes: What they take.
        hits: Reads that were answered from the cache.
        misses: Reads that looked there and had to go on.
        evictions: Pages that made room for others.
    """

    entries: int
    bytes: int
    hits: int
    misses: int
    evictions: int

    @classmethod
    def from_message(cls, stats: cache_service_pb2.CacheStats) -> CacheCounters:
        """Return what the message says."""
        return cls(stats.entries, stats.bytes, stats.hits, stats.misses, stats.evictions)


@dataclass(frozen=True, slots=True)
class CacheStats:
    """How the cache of one replica is used: in all, by table, and how many bytes it may take."""

    total: CacheCounters
    tables: Mapping[str, CacheCounters]
    max_bytes: int

    @classmethod
    def from_message(cls, response: cache_service_pb2.GetCacheStatsResponse) -> CacheStats:
        """Return what the message says."""
        return cls(
            total=CacheCounters.from_message(response.total),
            tables={one.table: CacheCounters.from_message(one.stats) for one in response.tables},
            max_bytes=response.max_bytes,
        )


def invalidation(
    table: str, key: Mapping[str, Value] | None
) -> cache_service_pb2.InvalidateCacheRequest:
    """Return what says that a table, or what a partition key names of it, was written to."""
    request = cache_service_pb2.InvalidateCacheRequest(table=check.text("table", table))
    if key is None:
        request.whole_table.SetInParent()
    else:
        with check.error_prefix("key"):
            request.partition_key.CopyFrom(key_message(key))
    return request
