"""Single flight: one read for all callers, and a caller that leaves disturbs no other."""

from __future__ import annotations

import asyncio

import pytest

from dynamodb_processor_server.cache.page_flights import PageFlights
from dynamodb_processor_server.errors import BackendUnavailable, DeadlineExceeded
from dynamodb_processor_server.reader import Page, PageContent, PageEnd, PartialRead, ReadOptions
from tests.support.reads import make_options
from tests.support.warped_time import warped

PAGE = Page(PageContent(b"whole", 10, None, PageEnd.EXHAUSTED, 0.0))
PART = Page(PageContent(b"part", 3, b"next", PageEnd.TIME_BUDGET, 0.0))


class Read:
    """A read that takes `seconds`, has `PART` to show from `part_after` on, and may fail."""

    def __init__(
        self, seconds: float = 1.0, part_after: float | None = None, error: Exception | None = None
    ) -> None:
        self.begun = 0
        self.cancelled = 0
        self._part_after = part_after
        self._seconds = seconds
        self._error = error

    async def __call__(self, progress: PartialRead) -> Page:
        """Do the reading."""
        self.begun += 1
        try:
            if self._part_after is not None:
                await asyncio.sleep(self._part_after)
                progress.partial_page = lambda: PART
            await asyncio.sleep(self._seconds - (self._part_after or 0.0))
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self._error is not None:
            raise self._error
        return PAGE


def clock() -> float:
    """Return the loop's time."""
    return asyncio.get_running_loop().time()


def join(flights: PageFlights, read: Read, options: ReadOptions) -> asyncio.Task[Page]:
    """Join the flight of "key", starting it if there is none, as a caller of its own."""
    flight = flights.find("key", float("-inf")) or flights.start("key", read, clock())
    return asyncio.create_task(flights.join("key", flight, options))


async def run_ready_tasks(count: int = 3) -> None:
    """Let the tasks that are ready run."""
    for _ in range(count):
        await asyncio.sleep(0)


@warped
async def test_a_hundred_callers_share_one_read() -> None:
    """Each gets the very same page, and afterwards no flight is left."""
    flights, read = PageFlights(), Read()
    callers = [join(flights, read, make_options()) for _ in range(100)]
    assert flights.find("key", float("-inf")) is not None
    assert await asyncio.gather(*callers) == [PAGE] * 100
    assert read.begun == 1
    await run_ready_tasks()
    assert flights.find("key", float("-inf")) is None


@warped
async def test_flights_of_different_keys_are_apart() -> None:
    """One may fail and the other not."""
    flights = PageFlights()
    one = flights.start("a", Read(error=BackendUnavailable("broken")), clock())
    other = flights.start("b", Read(), clock())
    results = await asyncio.gather(
        flights.join("a", one, make_options()),
        flights.join("b", other, make_options()),
        return_exceptions=True,
    )
    assert isinstance(results[0], BackendUnavailable)
    assert results[1] is PAGE


@pytest.mark.parametrize("leaver", range(5))
@warped
async def test_a_cancelled_caller_disturbs_no_other(leaver: int) -> None:
    """The others get their page, also if the leader was cancelled."""
    flights, read = PageFlights(), Read()
    callers = [join(flights, read, make_options()) for _ in range(5)]
    await asyncio.sleep(0.5)
    callers[leaver].cancel()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(results.pop(leaver), asyncio.CancelledError)
    assert results == [PAGE] * 4
    assert (read.begun, read.cancelled) == (1, 0)


@warped
async def test_the_last_caller_cancels_the_flight() -> None:
    """No caller waits for the read any more, so it is cancelled, and the next one starts anew."""
    flights, read = PageFlights(), Read()
    callers = [join(flights, read, make_options()) for _ in range(5)]
    await asyncio.sleep(0.5)
    for caller in callers:
        caller.cancel()
    await run_ready_tasks()
    assert all(caller.cancelled() for caller in callers)
    assert read.cancelled == 1
    assert flights.find("key", float("-inf")) is None
    assert await join(flights, read, make_options()) is PAGE
    assert read.begun == 2


@warped
async def test_a_failure_reaches_all_callers_once() -> None:
    """Every caller of the flight gets the error; the next caller reads again."""
    flights, read = PageFlights(), Read(error=BackendUnavailable("broken"))
    callers = [join(flights, read, make_options()) for _ in range(10)]
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert all(isinstance(result, BackendUnavailable) for result in results)
    assert read.begun == 1
    await run_ready_tasks()
    assert await join(flights, Read(), make_options()) is PAGE


@warped
async def test_an_error_without_callers_is_not_reported() -> None:
    """A flight that was replaced goes on, and may fail when all of its callers have left."""
    flights, read = PageFlights(), Read(error=BackendUnavailable("broken"))
    early = join(flights, read, make_options(seconds=0.5))
    with pytest.raises(DeadlineExceeded):
        await early
    flights.start("key", read, clock())
    await asyncio.sleep(5.0)
    assert flights.find("key", float("-inf")) is None


@warped
async def test_a_deadline_bounds_only_its_owner() -> None:
    """Without progress one caller gets an error; the others get the page in time."""
    flights, read = PageFlights(), Read()
    hasty = join(flights, read, make_options(seconds=0.3))
    patient = join(flights, read, make_options())
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(DeadlineExceeded):
        await hasty
    assert loop.time() - began == pytest.approx(0.3)
    assert await patient is PAGE
    assert (read.begun, read.cancelled) == (1, 0)


@warped
async def test_a_read_knows_how_long_its_callers_wait() -> None:
    """It is the latest hard deadline; a read that nobody waits for has time."""
    flights, read = PageFlights(), Read()
    callers = [join(flights, read, make_options(seconds=seconds)) for seconds in (5.0, 9.0, 2.0)]
    await run_ready_tasks()
    flight = flights.find("key", float("-inf"))
    assert flight is not None
    assert flight.progress.awaited_until == clock() + 9.0
    unattended = flights.start("other", read, clock(), attended=False)
    assert unattended.progress.awaited_until == float("inf")
    await asyncio.gather(*callers, unattended.task)


@warped
async def test_a_deadline_with_progress_is_an_answer() -> None:
    """One caller gets the progress so far as a TIME_BUDGET page; the others get the whole page."""
    flights, read = PageFlights(), Read(part_after=0.2)
    hasty = join(flights, read, make_options(seconds=0.3))
    patient = join(flights, read, make_options())
    assert (await hasty) is PART
    assert (await hasty).content.end is PageEnd.TIME_BUDGET
    assert await patient is PAGE


@warped
async def test_a_caller_past_its_soft_deadline_takes_the_first_progress() -> None:
    """Between soft and hard deadline a caller checks every tenth of a second."""
    flights, read = PageFlights(), Read(seconds=5.0, part_after=1.0)
    loop = asyncio.get_running_loop()
    began = loop.time()
    caller = join(flights, read, make_options(soft_deadline=began + 0.35))
    assert await caller is PART
    assert loop.time() - began == pytest.approx(1.15)
    assert read.cancelled == 1, "it was the only one, and the read did not end when it was asked to"


@warped
async def test_a_caller_without_followers_stops_the_read() -> None:
    """Its prefetched items are kept; no other caller joins the read from then on."""
    flights = PageFlights()
    seen: list[bool] = []

    async def read(progress: PartialRead) -> Page:
        progress.partial_page = lambda: PART
        await asyncio.sleep(0.4)
        seen.append(progress.stop_requested)
        return PAGE

    flight = flights.start("key", read, clock())
    caller = asyncio.create_task(
        flights.join("key", flight, make_options(soft_deadline=clock() + 0.35))
    )
    await asyncio.sleep(0.37)
    assert flights.find("key", float("-inf")) is None
    assert await caller is PAGE
    assert seen == [True]


@warped
async def test_closing_ends_flights_that_were_replaced_too() -> None:
    """New callers cannot join them, but they are under way."""
    flights, old, new = PageFlights(), Read(seconds=10.0), Read(seconds=10.0)
    callers = [join(flights, old, make_options())]
    await run_ready_tasks()
    replacing = flights.start("key", new, clock())
    callers.append(asyncio.create_task(flights.join("key", replacing, make_options())))
    await run_ready_tasks()
    await flights.close()
    assert (old.cancelled, new.cancelled) == (1, 1)
    await asyncio.wait(callers)


@warped
async def test_a_complete_page_is_returned_however_late() -> None:
    """A page that is complete is returned even past the deadline."""
    flights, read = PageFlights(), Read(seconds=0.0)
    flight = flights.start("key", read, clock())
    await asyncio.sleep(0)
    results = await asyncio.gather(
        flights.join("key", flight, make_options(seconds=-1.0)),
        flights.join("key", flight, make_options()),
        return_exceptions=True,
    )
    assert list(results) == [PAGE, PAGE]


@warped
async def test_callers_for_fresh_data_join_only_young_flights() -> None:
    """A flight is as old as its beginning; one that replaces it is joined from then on."""
    flights, old, new = PageFlights(), Read(seconds=10.0), Read()
    loop = asyncio.get_running_loop()
    first = join(flights, old, make_options())
    await asyncio.sleep(2.0)
    assert flights.find("key", loop.time() - 3.0) is not None
    assert flights.find("key", loop.time() - 1.0) is None
    assert flights.find("another key", float("-inf")) is None
    flight = flights.start("key", new, clock())
    assert flights.find("key", loop.time()) is flight
    assert await flights.join("key", flight, make_options()) is PAGE
    assert await first is PAGE
    assert (old.begun, new.begun) == (1, 1)
