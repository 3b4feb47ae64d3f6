"""Invalidates the cached pages that writes to a table affect, and retries until it succeeds."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from dynamodb_processor_server.cache.invalidator import Invalidator
from dynamodb_processor_server.catalog.schema import Table
from dynamodb_processor_server.errors import BackendUnavailable
from dynamodb_processor_server.query.planning.tags import (
    Partition,
    Tag,
    tags_of_partitions,
    tags_of_table,
)
from dynamodb_processor_server.runtime.timing import Clock


class InvalidationSink:
    """Invalidates the cached pages of all replicas; retries without limit until that is done."""

    def __init__(self, invalidator: Invalidator) -> None:
        self._invalidator = invalidator
        self._clock = Clock()

    async def invalidate_partitions(self, table: Table, partitions: Collection[Partition]) -> None:
        """Invalidate the pages of these partitions of the table and its indexes."""
        await self._invalidate(tags_of_partitions(table.schema.identity, partitions))

    async def invalidate_table(self, table: Table) -> None:
        """Invalidate every page of a table."""
        await self._invalidate(tags_of_table(table.schema.identity))

    async def _invalidate(self, tags: Sequence[Tag]) -> None:
        failures = 0
        while True:
            try:
                return await self._invalidator.invalidate_async(tags)
            except BackendUnavailable:
                failures += 1
                await self._clock.sleep(self._clock.backoff(failures))
