"""Invalidates the cached pages and items that writes affect, and retries until it succeeds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence

from dynamodb_processor_server.cache.invalidator import Invalidator
from dynamodb_processor_server.cache.item_refresh import ItemChange, ItemRefresh
from dynamodb_processor_server.cache.item_sharing import ItemSharing
from dynamodb_processor_server.cache.table_progress import TableProgress
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
    """Invalidates the cached pages and items of all replicas; retries without limit.

    Items that this replica has cached are replaced by those of the stream, and with `sharing` those
    that replicas share. They are dropped instead if an invalidation by another replica arrives
    meanwhile (`received` returns the number of those so far): for a moment two replicas may consume
    one stream, and the other one may have dealt with a later write.
    """

    def __init__(
        self,
        invalidator: Invalidator,
        items: ItemRefresh,
        progress: TableProgress,
        sharing: ItemSharing | None = None,
        received: Callable[[], int] = lambda: 0,
    ) -> None:
        self._invalidator = invalidator
        self._items = items
        self._progress = progress
        self._sharing = sharing
        self._received = received
        self._clock = Clock()

    async def invalidate_partitions(
        self, table: Table, partitions: Collection[Partition], changes: Sequence[ItemChange]
    ) -> None:
        """Invalidate the pages of these partitions, and replace the cached items that changed.

        Pages never end before the items: a page that is read in between may have cached items.
        """
        refresh, received = self._items.prepare(table, changes), self._received()
        pages = tags_of_partitions(table.schema.identity, partitions)
        sharing = self._sharing
        if sharing is None:
            await self._invalidate((*pages, *refresh.tags))
        else:
            await self._until_done(lambda: sharing.apply(table, changes))
            await self._invalidate(pages)
        if self._received() == received:
            self._items.commit(refresh)

    async def invalidate_table(self, table: Table) -> None:
        """Invalidate every page and item of a table."""
        await self._invalidate(tags_of_table(table.schema.identity))

    def note_progress(self, table: Table, until: float) -> None:
        """Claim that the writes that were finished before a time have been invalidated."""
        self._progress.claim(table, until)

    async def _invalidate(self, tags: Sequence[Tag]) -> None:
        await self._until_done(lambda: self._invalidator.invalidate_async(tags))

    async def _until_done(self, command: Callable[[], Awaitable[None]]) -> None:
        failures = 0
        while True:
            try:
                return await command()
            except BackendUnavailable:
                failures += 1
                await self._clock.sleep(self._clock.backoff(failures))
