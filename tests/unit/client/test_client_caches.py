"""Tests of cache invalidation and cache counters in the client and `ddbq`."""

from __future__ import annotations

from typing import Final

from dynamodb_processor_client import CacheCounters, CacheStats, QueryClient
from tests.support.fake_service import FakeService
from tests.unit.client.commands import Run, run_on_terminal

_USE: Final = {
    "entries": 1, "bytes": 2, "hits": 3, "misses": 4, "evictions": 5,
    "item_entries": 6, "item_hits": 7, "item_misses": 8, "item_refreshes": 9,
}  # fmt: skip


def fill(service: FakeService) -> CacheStats:
    """Set the service's counters, and return them as the client does."""
    stats = service.cache_stats
    stats.max_bytes = 1_000
    for target in (stats.total, stats.tables.add(table="numbers").stats):
        for name, value in _USE.items():
            setattr(target, name, value)
    use = CacheCounters(**_USE)
    return CacheStats(use, {"numbers": use}, 1_000)


async def test_a_partition_or_the_whole_table(client: QueryClient, service: FakeService) -> None:
    """A key names a partition, and no key the whole table; an empty key is left to the service."""
    await client.invalidate("numbers")
    await client.invalidate("numbers", {"user_id": "u-1", "n": 5})
    await client.invalidate("numbers", {})
    whole, partition, empty = service.invalidations
    assert [request.table for request in service.invalidations] == ["numbers"] * 3
    assert whole.WhichOneof("scope") == "whole_table"
    assert partition.partition_key.attributes["user_id"].s == "u-1"
    assert partition.partition_key.attributes["n"].n == "5"
    assert empty.WhichOneof("scope") == "partition_key"


async def test_the_counters(client: QueryClient, service: FakeService) -> None:
    """The counters have every field of the message."""
    expected = fill(service)
    assert await client.cache_stats() == expected


async def test_the_command(run: Run, service: FakeService, environment: dict[str, str]) -> None:
    """Without attributes the whole table is invalidated; counters are JSON or a table."""
    assert (await run("cache", "invalidate", "numbers")).status == 0
    assert (await run("cache", "invalidate", "numbers", "user_id=u-1", "n:=5")).status == 0
    whole, partition = service.invalidations
    assert whole.WhichOneof("scope") == "whole_table"
    assert partition.partition_key.attributes["n"].n == "5"
    fill(service)
    outcome = await run("cache", "stats")
    assert outcome.lines == [{"total": _USE, "tables": {"numbers": _USE}, "max_bytes": 1000}]
    shown = await run_on_terminal(environment, "cache", "stats")
    assert "numbers" in shown.output
    assert "evictions" in shown.output
