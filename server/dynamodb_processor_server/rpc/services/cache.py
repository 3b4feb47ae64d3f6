"""Implements `CacheService`: invalidation and cache statistics."""

from __future__ import annotations

from typing import Any

import grpc

from dynamodb_processor.v1 import cache_service_pb2 as pb
from dynamodb_processor_server.cache.invalidator import Invalidator
from dynamodb_processor_server.cache.page_store import PageStore, TableCacheStats
from dynamodb_processor_server.catalog.catalog import Catalog
from dynamodb_processor_server.errors import InvalidRequest
from dynamodb_processor_server.query.planning.tags import (
    tags_of_items,
    tags_of_partitions,
    tags_of_table,
)
from dynamodb_processor_server.rpc.call_context import current_call
from dynamodb_processor_server.rpc.decode.keys import parse_partitions
from dynamodb_processor_server.rpc.decode.violations import Violations
from dynamodb_processor_server.rpc.table_calls import TableCalls


class CacheServicer:
    """Invalidates cached pages and returns the cache's statistics."""

    def __init__(
        self, catalog: Catalog, calls: TableCalls, invalidator: Invalidator, store: PageStore
    ) -> None:
        self._catalog = catalog
        self._calls = calls
        self._invalidator = invalidator
        self._store = store

    async def InvalidateCache(  # noqa: N802 - the method's name in the contract
        self, request: pb.InvalidateCacheRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.InvalidateCacheResponse:
        """Invalidate the pages and items of a table, or of the named partitions."""
        call, scope = current_call(), request.WhichOneof("scope")
        call.arguments = {"scope": scope or ""}
        access = await self._calls.open(call, request.table)
        identity = access.table.schema.identity
        match scope:
            case "whole_table":
                await self._invalidator.invalidate(tags_of_table(identity))
            case "partition_key":
                violations = Violations()
                # Other callers may read by indexes that this caller may not see.
                whole = await self._catalog.table(request.table)
                partitions = parse_partitions(
                    request.partition_key,
                    "partition_key",
                    access.table,
                    whole.schema.all_paths,
                    violations,
                )
                violations.raise_any()
                tags = tags_of_partitions(identity, partitions), tags_of_items(identity, partitions)
                await self._invalidator.invalidate([*tags[0], *tags[1]])
            case _:
                raise InvalidRequest.of("scope", "is required: whole_table or partition_key")
        return pb.InvalidateCacheResponse()

    async def GetCacheStats(  # noqa: N802 - the method's name in the contract
        self, request: pb.GetCacheStatsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetCacheStatsResponse:
        """Return the cache's statistics for the caller's tables, in total and by table.

        Tables with a row rule are left out: the figures would reveal other callers' reads and
        writes.
        """
        grant = current_call().caller.grant
        visible = [
            (name, stats)
            for name, stats in sorted(self._store.all_stats.items())
            if (given := grant(name)) is not None and given.rule is None
        ]
        return pb.GetCacheStatsResponse(
            total=_stats(sum((stats for _, stats in visible), TableCacheStats())),
            tables=[pb.TableCacheStats(table=name, stats=_stats(stats)) for name, stats in visible],
            max_bytes=self._store.max_bytes,
        )


def _stats(stats: TableCacheStats) -> pb.CacheStats:
    return pb.CacheStats(
        entries=stats.pages + stats.items,
        bytes=stats.bytes,
        hits=stats.hits,
        misses=stats.misses,
        evictions=stats.evictions,
        item_entries=stats.items,
        item_hits=stats.item_hits,
        item_misses=stats.item_misses,
        item_refreshes=stats.item_refreshes,
    )
