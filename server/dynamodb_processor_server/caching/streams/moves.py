"""What is written to a table ends the generations of its cached pages."""

from __future__ import annotations

from collections.abc import Collection

from dynamodb_processor_server.caching.generations import Generations
from dynamodb_processor_server.caching.tags import Partition, tags_of_partitions, tags_of_table
from dynamodb_processor_server.catalog.schema import Table


class GenerationMoves:
    """Invalidates the pages that this process has cached."""

    def __init__(self, generations: Generations) -> None:
        self._generations = generations

    async def move_partitions(self, table: Table, partitions: Collection[Partition]) -> None:
        """Invalidate what was read of these partitions of the table and its indexes."""
        self._generations.move(tags_of_partitions(table.schema.name, partitions))

    async def move_table(self, table: Table) -> None:
        """Invalidate whatever was read of a table."""
        self._generations.move(tags_of_table(table.schema.name))
