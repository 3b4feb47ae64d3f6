"""`CacheService`: what was written to, and how the cache is used."""

from __future__ import annotations

from typing import Any

import grpc

from dynamodb_processor.v1 import cache_service_pb2 as pb
from dynamodb_processor_server.cache.invalidator import Invalidator
from dynamodb_processor_server.cache.page_store import PageStore, TableCacheStats
from dynamodb_processor_server.catalog.catalog import Catalog
from dynamodb_processor_server.errors import InvalidRequest
from dynamodb_processor_server.query.planning.tags import tags_of_partitions, tags_of_table
from dynamodb_processor_server.rpc.call_context import current_call
from dynamodb_processor_server.rpc.decode.keys import parse_partitions
from dynamodb_processor_server.rpc.decode.violations import Violations
from dynamodb_processor_server.rpc.table_calls import TableCalls


class CacheServicer:
    """Ends what is cached, and counts it."""

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
        """Move the tags of a table, or of the partitions that are named."""
        access = await self._calls.open(current_call(), request.table)
        identity = access.table.schema.identity
        match request.WhichOneof("scope"):
            case "whole_table":
                await self._invalidator.invalidate(tags_of_table(identity))
            case "partition_key":
                violations = Violations()
                # Others may read by indexes that the caller does not know of.
                whole = await self._catalog.table(request.table)
                partitions = parse_partitions(
                    request.partition_key,
                    "partition_key",
                    access.table,
                    whole.schema.all_paths,
                    violations,
                )
                violations.raise_any()
                await self._invalidator.invalidate(tags_of_partitions(identity, partitions))
            case _:
                raise InvalidRequest.of("scope", "is required: whole_table or partition_key")
        return pb.InvalidateCacheResponse()

    async def GetCacheStats(  # noqa: N802 - the method's name in the contract
        self, request: pb.GetCacheStatsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetCacheStatsResponse:
        """Count what is cached of the caller's tables, in all and by table.

        Not of tables of which it has some items only: others' reads and writes would show.
        """
        grant = current_call().caller.grant
        tallies = [
            (name, tally)
            for name, tally in sorted(self._store.tallies.items())
            if (given := grant(name)) is not None and given.rule is None
        ]
        return pb.GetCacheStatsResponse(
            total=_stats(sum((tally for _, tally in tallies), TableCacheStats())),
            tables=[pb.TableCacheStats(table=name, stats=_stats(tally)) for name, tally in tallies],
            max_bytes=self._store.max_bytes,
        )


def _stats(tally: TableCacheStats) -> pb.CacheStats:
    return pb.CacheStats(
        entries=tally.pages,
        bytes=tally.bytes,
        hits=tally.hits,
        misses=tally.misses,
        evictions=tally.evictions,
    )
