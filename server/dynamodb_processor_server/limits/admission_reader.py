"""Readers that take a place in admission for each page or lookup.

They stand between the cache and DynamoDB: what is answered from memory waits for nobody, callers
who share a read share its place, and a stream has none while its caller digests a page.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from dynamodb_processor_server.limits.admission import Admission
from dynamodb_processor_server.query.planning.plan import Plan
from dynamodb_processor_server.reader import (
    BatchGetRequest,
    BatchGetResult,
    Cursor,
    ItemReader,
    Page,
    PageReader,
    ReadOptions,
)


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf a task reads, and the seconds left until that call's deadline, if any."""

    principal: str
    seconds: float | None


class AdmissionGate:
    """The way into admission. `claim` speaks for the running task."""

    def __init__(self, admission: Admission, claim: Callable[[], Caller]) -> None:
        self._admission = admission
        self._claim = claim

    def place(self, limits: ReadOptions) -> AbstractAsyncContextManager[None]:
        """Have a place, after waiting for it no longer than is of use, or raise Overloaded."""
        claim = self._claim()
        left = limits.hard_deadline - asyncio.get_running_loop().time()
        if claim.seconds is not None:
            left = min(left, claim.seconds)
        return self._admission.place(claim.principal, left)


class AdmissionReader:
    """Reads each page in a place of its own, which its requests share. Raises Overloaded."""

    def __init__(self, reader: PageReader, admittance: AdmissionGate) -> None:
        self._reader = reader
        self._admittance = admittance

    async def read_page(self, plan: Plan, at: Cursor, limits: ReadOptions) -> Page:
        """Return the page that begins at `at`; see `Reader`."""
        async with self._admittance.place(limits):
            return await self._reader.read_page(plan, at, limits)


class AdmissionItemReader:
    """Gets items in a place, for all rounds of a lookup. Raises Overloaded."""

    def __init__(self, items: ItemReader, admittance: AdmissionGate) -> None:
        self._items = items
        self._admittance = admittance

    async def get_items(self, lookup: BatchGetRequest, limits: ReadOptions) -> BatchGetResult:
        """Return what could be read within `limits`; see `ItemReader`."""
        async with self._admittance.place(limits):
            return await self._items.get_items(lookup, limits)
