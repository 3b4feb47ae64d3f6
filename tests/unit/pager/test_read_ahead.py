"""The page that a stream reads ahead: when it is read, delivered and given up."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from dynamodb_processor_server.errors import BackendUnavailable, DeadlineExceeded
from dynamodb_processor_server.pager.pager import PageResult
from dynamodb_processor_server.reader import (
    NO_USAGE,
    PageEnd,
    PageReader,
)
from tests.support.warped_time import warped
from tests.unit.pager.scripted_pages import (
    AHEAD,
    ITEMS,
    ScriptedReader,
    collect,
    delivered,
    open_pager,
)


@warped
async def test_one_page_is_read_ahead() -> None:
    """While a page is being written the next one is read, and not the one after it."""
    reader = ScriptedReader(seconds=1.0)
    async with aclosing(open_pager(reader, page_size=5).pages()) as pages:
        for number in range(1, 4):
            await anext(pages)
            await asyncio.sleep(10.0)
            assert len(reader.requests) == number + 1
            assert len(reader.inner.calls) == number + 1


@pytest.mark.parametrize("allowed", [0, 1, 2])
@warped
async def test_a_refusal_comes_after_every_page_that_was_read(allowed: int) -> None:
    """A refused call has its pages, the one that was read ahead included, and reads no other."""
    reader = ScriptedReader(seconds=1.0)
    steps: list[PageResult] = []
    asked = 0

    def refusal() -> Exception | None:
        nonlocal asked
        asked += 1
        return None if asked <= allowed else BackendUnavailable("no more")

    async def consume() -> None:
        async for step in open_pager(reader, page_size=5).pages(refusal):
            steps.append(step)
            await asyncio.sleep(10.0)

    with pytest.raises(BackendUnavailable, match="no more"):
        await consume()
    assert len(reader.requests) == len(steps) == allowed + 1
    assert delivered(steps) == ITEMS[: 5 * len(steps)]
    assert not any(step.last for step in steps)


@warped
async def test_the_last_page_is_not_refused() -> None:
    """A call whose every page was read ends well."""
    reader = ScriptedReader()
    pages = open_pager(reader, page_size=30).pages(lambda: BackendUnavailable("no more"))
    (step,) = [step async for step in pages]
    assert step.last


@warped
async def test_items_read_ahead_begin_the_next_page() -> None:
    """The pager passes them on once; a unary call has no next page to read ahead for."""
    reader = ScriptedReader()
    await collect(open_pager(reader, page_size=10))
    given = [request.read_ahead for request in reader.requests]
    assert [None if ahead is None else ahead.items for ahead in given] == [None, AHEAD, AHEAD]
    unary = ScriptedReader()
    await open_pager(unary).next_page()
    assert not unary.requests[0].options.reads_on


@warped
async def test_items_read_ahead_do_not_outlive_a_failure() -> None:
    """A page that failed may still be using them."""
    reader = ScriptedReader(fails_at=2)
    pager = open_pager(reader)
    pages = pager.pages()
    await anext(pages)
    with pytest.raises(BackendUnavailable):
        await anext(pages)
    await pager.next_page()
    given = [request.read_ahead for request in reader.requests]
    assert [ahead is not None for ahead in given] == [False, True, False]


@warped
async def test_reading_ahead_saves_the_wait() -> None:
    """A caller as slow as a page waits for the first one only."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async for _ in open_pager(ScriptedReader(seconds=1.0), page_size=5).pages():
        await asyncio.sleep(1.0)
    assert loop.time() - began == pytest.approx(6.0)


@warped
async def test_a_closed_pager_stops_reading() -> None:
    """Closing the generator ends the read ahead; no task is left behind (see `warped`)."""
    reader = ScriptedReader(seconds=1.0)
    pages = open_pager(reader).pages()
    await anext(pages)
    await asyncio.sleep(0.5)
    await pages.aclose()
    assert reader.cancelled == 1


@warped
async def test_a_cancelled_call_stops_reading() -> None:
    """It stops while it waits for the page ahead, and while it is busy with the last one."""
    for pause in (0.0, 0.5):
        reader = ScriptedReader(seconds=1.0)

        async def consume(reader: PageReader = reader, pause: float = pause) -> None:
            async with aclosing(open_pager(reader).pages()) as pages:
                async for _ in pages:
                    await asyncio.sleep(pause)

        task = asyncio.create_task(consume())
        await asyncio.sleep(1.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert reader.cancelled == 1


@pytest.mark.parametrize("fails_at", [1, 2, 3])
@warped
async def test_an_error_comes_after_the_pages_before_it(fails_at: int) -> None:
    """Complete pages are delivered; the error is kept with its task."""
    steps: list[PageResult] = []

    async def consume() -> None:
        async for step in open_pager(ScriptedReader(fails_at=fails_at)).pages():
            steps.append(step)
            await asyncio.sleep(1.0)

    with pytest.raises(BackendUnavailable, match="broken"):
        await consume()
    assert len(steps) == fails_at - 1
    assert not any(step.last for step in steps)


@warped
async def test_a_deadline_after_pages_is_the_end_of_a_stream_not_an_error() -> None:
    """A stream that ends without further items is OK, with a token."""
    reader = ScriptedReader(fails_at=2, error=DeadlineExceeded("nothing to show"))
    first, last = await collect(open_pager(reader))
    assert (last.last, last.page.content.end) == (True, PageEnd.TIME_BUDGET)
    assert (last.page.content.items, last.page.usage) == (b"", NO_USAGE)
    assert last.page.content.next == first.page.content.next
    assert (last.items, last.usage) == (first.items, first.usage)


@warped
async def test_an_error_without_a_caller_is_not_reported() -> None:
    """The caller has left, so the error of the page ahead is not reported."""
    pages = open_pager(ScriptedReader(fails_at=2)).pages()
    await anext(pages)
    await asyncio.sleep(1.0)
    await pages.aclose()
