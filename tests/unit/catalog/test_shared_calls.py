"""Shared calls: one call for all callers of a key; a caller that leaves disturbs no other."""

from __future__ import annotations

import asyncio
import gc

import pytest

from dynamodb_processor_server.catalog import shared_calls
from dynamodb_processor_server.catalog.shared_calls import SharedCalls
from dynamodb_processor_server.errors import BackendUnavailable, DeadlineExceeded, Overloaded
from tests.support.warped_time import warped


class SlowFunction:
    """A slow function: it takes `seconds` to return the number of its calls, or fails."""

    def __init__(self, seconds: float = 1.0, error: Exception | None = None) -> None:
        self.called = 0
        self.given_up = 0
        self._seconds = seconds
        self._error = error

    async def __call__(self) -> int:
        """Return the number of the call."""
        self.called += 1
        number = self.called
        try:
            await asyncio.sleep(self._seconds)
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        if self._error is not None:
            raise self._error
        return number


def start_callers(
    calls: SharedCalls[int], function: SlowFunction, callers: int, name: str = "q"
) -> list[asyncio.Task[int]]:
    """Call with so many callers, each a task of its own."""
    return [asyncio.create_task(calls.call(name, function)) for _ in range(callers)]


async def run_ready_tasks(count: int = 3) -> None:
    """Let the tasks that are ready run."""
    for _ in range(count):
        await asyncio.sleep(0)


@warped
async def test_concurrent_callers_get_one_result() -> None:
    """The next caller gets a call of its own, and so does another key."""
    calls, function = SharedCalls[int](10.0), SlowFunction()
    first = start_callers(calls, function, 20)
    await asyncio.sleep(0.5)
    late, other = start_callers(calls, function, 5), start_callers(calls, function, 1, "other")
    assert await asyncio.gather(*first, *late, *other) == [1] * 25 + [2]
    assert await calls.call("q", function) == 3


@warped
async def test_no_caller_waits_longer_than_patience() -> None:
    """A caller that came later waits on for the same result."""
    calls, function = SharedCalls[int](2.0), SlowFunction(3.0)
    (early,) = start_callers(calls, function, 1)
    await asyncio.sleep(1.5)
    (late,) = start_callers(calls, function, 1)
    with pytest.raises(DeadlineExceeded):
        await early
    assert asyncio.get_running_loop().time() == pytest.approx(1_002.0)
    assert await late == 1
    assert asyncio.get_running_loop().time() == pytest.approx(1_003.0)


@warped
async def test_a_call_ends_with_its_last_caller() -> None:
    """A caller that leaves before that disturbs no other; the next caller starts anew."""
    calls, function = SharedCalls[int](10.0), SlowFunction()
    one, other = start_callers(calls, function, 2)
    await run_ready_tasks()
    one.cancel()
    await run_ready_tasks()
    assert function.given_up == 0
    other.cancel()
    (next_,) = start_callers(calls, function, 1)
    await run_ready_tasks()
    assert function.given_up == 1
    assert await next_ == 2


@warped
async def test_a_failure_reaches_all_callers_and_is_not_remembered() -> None:
    """Each caller gets the failure, and the next caller a result."""
    calls, error = SharedCalls[int](10.0), BackendUnavailable("throttled")
    ends = await asyncio.gather(
        *start_callers(calls, SlowFunction(error=error), 3), return_exceptions=True
    )
    assert ends == [error] * 3
    assert await calls.call("q", SlowFunction()) == 1


@warped
async def test_a_failure_without_callers_is_silent() -> None:
    """This holds also if the last caller leaves just as the failure comes."""

    async def fail() -> int:
        caller.cancel()
        raise BackendUnavailable("throttled")

    caller = asyncio.create_task(SharedCalls[int](1.0).call("q", fail))
    with pytest.raises(asyncio.CancelledError):
        await caller
    gc.collect()


@warped
async def test_the_number_of_callers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """More callers of any key are refused at once, until one of them has gone."""
    monkeypatch.setattr(shared_calls, "_MOST_WAITING", 3)
    calls, function = SharedCalls[int](10.0), SlowFunction()
    waiting = [*start_callers(calls, function, 2), *start_callers(calls, function, 1, "other")]
    await run_ready_tasks()
    for name in ("q", "another"):
        with pytest.raises(Overloaded) as caught:
            await calls.call(name, function)
        assert caught.value.retry_after == 1.0
    waiting.pop().cancel()
    await run_ready_tasks()
    assert await asyncio.gather(*waiting, calls.call("another", function)) == [1, 1, 3]


@warped
async def test_callers_do_not_join_a_forgotten_call() -> None:
    """The waiting callers get its result all the same, and do not end the new call."""
    calls, function = SharedCalls[int](10.0), SlowFunction()
    (early,) = start_callers(calls, function, 1)
    await asyncio.sleep(0.5)
    calls.forget()
    (late,) = start_callers(calls, function, 1)
    assert await early == 1
    (later,) = start_callers(calls, function, 1)
    assert [await late, await later] == [2, 2]
