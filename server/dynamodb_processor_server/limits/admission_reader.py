"""Readers that take a slot of admission for each page or batch.

They stand between the cache and DynamoDB: a page of the cache waits for no slot, callers that share
a read share its slot, and a stream holds none while its caller takes in a page.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager

from dynamodb_processor_server.limits.admission import Admission
from dynamodb_processor_server.reader import (
    BatchGetRequest,
    BatchGetResult,
    Caller,
    ItemReader,
    Page,
    PageRead,
    PageReader,
    ReadOptions,
)


class AdmissionReader:
    """Reads each page in a slot of its own, which its requests share. Raises Overloaded."""

    def __init__(self, reader: PageReader, admission: Admission) -> None:
        self._reader = reader
        self._admission = admission

    async def read_page(self, request: PageRead) -> Page:
        """Return a page, read in a slot; see `PageReader`."""
        async with _slot(self._admission, request.options, request.caller):
            return await self._reader.read_page(request)


class AdmissionItemReader:
    """Gets the items of a batch in one slot, for all its rounds. Raises Overloaded."""

    def __init__(self, items: ItemReader, admission: Admission) -> None:
        self._items = items
        self._admission = admission

    async def get_items(
        self, request: BatchGetRequest, options: ReadOptions, caller: Caller
    ) -> BatchGetResult:
        """Return the items, got in a slot; see `ItemReader`."""
        async with _slot(self._admission, options, caller):
            return await self._items.get_items(request, options, caller)


def _slot(
    admission: Admission, options: ReadOptions, caller: Caller
) -> AbstractAsyncContextManager[None]:
    """Return a slot to enter, for which the read waits no longer than it can use it."""
    until = min(options.hard_deadline, caller.deadline)
    left = until - asyncio.get_running_loop().time()
    return admission.slot(caller.principal.name, left)
