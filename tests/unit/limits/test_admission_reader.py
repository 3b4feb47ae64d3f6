"""Admission slots of reads: one for each page or lookup, and always given back."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from math import inf
from typing import Any, cast

import pytest

from dynamodb_processor_server.batch_reader import BatchGetRequest, BatchGetResult
from dynamodb_processor_server.errors import BackendUnavailable, Overloaded
from dynamodb_processor_server.limits.admission import (
    Admission,
    AdmissionItemReader,
    AdmissionReader,
)
from dynamodb_processor_server.reader import (
    NO_USAGE,
    Caller,
    Page,
    PageContent,
    PageEnd,
    PageRead,
    ReadOptions,
    Usage,
)
from tests.support.reads import PRINCIPAL, make_options, make_read
from tests.support.warped_time import warped
from tests.unit.dynamodb.small_table import make_plan

_PAGE = Page(PageContent(b"", 0, None, PageEnd.EXHAUSTED, 0.0))


@dataclass
class _Slow:
    """Reads that end when the test lets them, and the most that ran at once."""

    error: Exception | None = None
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    active: int = 0
    most: int = 0

    async def _read(self) -> None:
        self.active += 1
        self.most = max(self.most, self.active)
        await self.gate.wait()
        self.active -= 1
        if self.error is not None:
            raise self.error

    async def read_page(self, request: PageRead) -> Page:
        await self._read()
        return _PAGE

    async def get_items(
        self, request: BatchGetRequest, options: ReadOptions, caller: Caller
    ) -> BatchGetResult:
        await self._read()
        return BatchGetResult({}, NO_USAGE, 0.0)


def _readers(slow: _Slow, admission: Admission) -> tuple[AdmissionReader, AdmissionItemReader]:
    return AdmissionReader(slow, admission), AdmissionItemReader(slow, admission)


async def _read(
    reader: AdmissionReader | AdmissionItemReader, call_seconds: float = inf, **options: Any
) -> Usage:
    """Read a page or items, and return the use of DynamoDB."""
    caller = Caller(PRINCIPAL, asyncio.get_running_loop().time() + call_seconds)
    if isinstance(reader, AdmissionReader):
        return (await reader.read_page(make_read(make_plan(), caller=caller, **options))).usage
    batch = cast("BatchGetRequest", None)
    return (await reader.get_items(batch, make_options(**options), caller)).usage


@warped
async def test_pages_and_lookups_share_the_slots() -> None:
    """No more of them are read at once than there are slots; the others wait."""
    slow, admission = _Slow(), Admission(2, 10)
    readers = _readers(slow, admission)
    reads = [asyncio.create_task(_read(reader)) for reader in readers * 3]
    await asyncio.sleep(0.5)
    assert (slow.active, admission.active, admission.waiting) == (2, 2, 4)
    slow.gate.set()
    await asyncio.gather(*reads)
    assert (slow.most, admission.active) == (2, 0)


@pytest.mark.parametrize("which", [0, 1], ids=["page", "lookup"])
@warped
async def test_a_slot_is_always_given_back(which: int) -> None:
    """Failed and cancelled reads give it back, too."""
    slow, admission = _Slow(BackendUnavailable("no")), Admission(1, 0)
    reader = _readers(slow, admission)[which]
    cancelled = asyncio.create_task(_read(reader))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await _read(reader)
    cancelled.cancel()
    await asyncio.wait((cancelled,))
    assert admission.active == 0
    slow.gate.set()
    with pytest.raises(BackendUnavailable):
        await _read(reader)
    assert admission.active == 0


@pytest.mark.parametrize(("call", "read"), [(0.25, 30.0), (30.0, 0.25), (inf, 0.25)])
@warped
async def test_no_read_waits_past_a_deadline(call: float, read: float) -> None:
    """Neither the deadline of the caller nor that of the read may pass."""
    slow, admission = _Slow(), Admission(1, 5)
    reader, _ = _readers(slow, admission)
    first = asyncio.create_task(_read(reader))
    await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(Overloaded):
        await _read(reader, call, seconds=read)
    assert 0.2 <= loop.time() - began <= 0.3
    slow.gate.set()
    await first


@pytest.mark.parametrize("which", [0, 1], ids=["page", "lookup"])
@warped
async def test_a_read_says_how_long_it_waited(which: int) -> None:
    """The wait for a slot is part of its usage, and the read that did not wait has none."""
    slow = _Slow()
    admission = Admission(1, 5, clock=asyncio.get_running_loop().time)
    reader = _readers(slow, admission)[which]
    first = asyncio.create_task(_read(reader))
    await asyncio.sleep(0)
    second = asyncio.create_task(_read(reader))
    await asyncio.sleep(0.5)
    slow.gate.set()
    assert (await first).queue_time == 0.0
    assert (await second).queue_time == pytest.approx(0.5, abs=0.05)
