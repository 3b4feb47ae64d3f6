"""The number of items that a stream will have, for the time left on its progress line."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, suppress
from types import TracebackType
from typing import Self

from dynamodb_processor_client.client import QueryClient
from dynamodb_processor_client.counts import Count
from dynamodb_processor_client.errors import QueryError
from dynamodb_processor_client.output import note
from dynamodb_processor_client.pages import Total
from dynamodb_processor_client.query import Query
from dynamodb_processor_client.stream_progress import StreamProgress


class TimeLeft(AbstractAsyncContextManager["TimeLeft"]):
    """Counts the items beside the stream, up to a bound, if the progress line is shown."""

    def __init__(
        self, client: QueryClient, query: Query, progress: StreamProgress, *, up_to: int | None
    ) -> None:
        """Prepare the count; without `up_to` there is none, and so no cost."""
        self._client = client
        self._query = query
        self._progress = progress
        self._up_to = up_to if progress.is_shown else None
        self._counting: asyncio.Task[Count] | None = None

    async def __aenter__(self) -> Self:
        """Begin to count."""
        if self._up_to is not None:
            self._counting = asyncio.create_task(self._count(self._up_to))
            self._counting.add_done_callback(self._on_counted)
        if self._query.max_items is not None and self._up_to is None:
            self._progress.expect(self._query.max_items)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the count."""
        if self._counting is not None:
            self._counting.cancel()
            with suppress(asyncio.CancelledError, QueryError):
                await self._counting

    def on_total(self, total: Total | None) -> None:
        """Use the total that the command has requested anyway."""
        if total is not None and total.exact:
            self._expect(total.value)

    def note_cost(self) -> None:
        """Print the result and the cost of the count."""
        if self._counting is None:
            return
        if self._counting.cancelled():
            note("--eta: the stream was faster than the count")
        elif (error := self._counting.exception()) is not None:
            note(f"--eta: nothing was counted: {error}")
        else:
            count = self._counting.result()
            bound = "" if count.exact else "at least "
            note(
                f"--eta: counted {bound}{count.value:,} items with {count.stats.read_units:,g} "
                "read units"
            )

    async def _count(self, up_to: int) -> Count:
        query = self._query
        counted = Query(
            query.table,
            query.expression,
            parameters=query.parameters,
            index=query.index,
            consistent=query.consistent,
        )
        return await self._client.count(counted, up_to=up_to, timeout=None)

    def _on_counted(self, counting: asyncio.Task[Count]) -> None:
        if counting.cancelled() or counting.exception() is not None:
            return
        if counting.result().exact:
            self._expect(counting.result().value)

    def _expect(self, items: int) -> None:
        limit = self._query.max_items
        self._progress.expect(items if limit is None else min(items, limit))
