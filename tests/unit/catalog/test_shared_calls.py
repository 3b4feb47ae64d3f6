"""Questions: one for all who have it, and nobody's leaving is anybody else's trouble."""

from __future__ import annotations

import asyncio
import gc

import pytest

from dynamodb_processor_server.catalog import shared_calls as questions
from dynamodb_processor_server.catalog.shared_calls import SharedCalls
from dynamodb_processor_server.errors import BackendUnavailable, DeadlineExceeded, Overloaded
from tests.support.warped_time import warped


class Oracle:
    """Whoever is asked, who takes `seconds` to say how often that was, or fails."""

    def __init__(self, seconds: float = 1.0, error: Exception | None = None) -> None:
        self.asked = 0
        self.given_up = 0
        self._seconds = seconds
        self._error = error

    async def __call__(self) -> int:
        """Answer."""
        self.asked += 1
        number = self.asked
        try:
            await asyncio.sleep(self._seconds)
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        if self._error is not None:
            raise self._error
        return number


def asking(
    asked: SharedCalls[int], oracle: Oracle, callers: int, name: str = "q"
) -> list[asyncio.Task[int]]:
    """Ask as so many callers, each a task of its own."""
    return [asyncio.create_task(asked.call(name, oracle)) for _ in range(callers)]


async def turns(count: int = 3) -> None:
    """Let the tasks that are ready run."""
    for _ in range(count):
        await asyncio.sleep(0)


@warped
async def test_all_who_ask_meanwhile_get_one_answer() -> None:
    """The next who asks gets one of its own, and so does another question."""
    asked, oracle = SharedCalls[int](10.0), Oracle()
    first = asking(asked, oracle, 20)
    await asyncio.sleep(0.5)
    late, other = asking(asked, oracle, 5), asking(asked, oracle, 1, "other")
    assert await asyncio.gather(*first, *late, *other) == [1] * 25 + [2]
    assert await asked.call("q", oracle) == 3


@warped
async def test_nobody_waits_longer_than_patience() -> None:
    """Whoever came later waits on for the same answer."""
    asked, oracle = SharedCalls[int](2.0), Oracle(3.0)
    (early,) = asking(asked, oracle, 1)
    await asyncio.sleep(1.5)
    (late,) = asking(asked, oracle, 1)
    with pytest.raises(DeadlineExceeded):
        await early
    assert asyncio.get_running_loop().time() == pytest.approx(1_002.0)
    assert await late == 1
    assert asyncio.get_running_loop().time() == pytest.approx(1_003.0)


@warped
async def test_a_question_ends_with_the_last_who_waits_for_it() -> None:
    """Leaving before that disturbs nobody; who asks afterwards asks anew."""
    asked, oracle = SharedCalls[int](10.0), Oracle()
    one, other = asking(asked, oracle, 2)
    await turns()
    one.cancel()
    await turns()
    assert oracle.given_up == 0
    other.cancel()
    (next_,) = asking(asked, oracle, 1)
    await turns()
    assert oracle.given_up == 1
    assert await next_ == 2


@warped
async def test_a_failure_is_everybodys_and_is_not_remembered() -> None:
    """Each gets it, and the next who asks gets an answer."""
    asked, error = SharedCalls[int](10.0), BackendUnavailable("throttled")
    ends = await asyncio.gather(*asking(asked, Oracle(error=error), 3), return_exceptions=True)
    assert ends == [error] * 3
    assert await asked.call("q", Oracle()) == 1


@warped
async def test_a_failure_that_nobody_waits_for_any_more_is_silent() -> None:
    """As when the last leaves just as it comes."""

    async def fail() -> int:
        caller.cancel()
        raise BackendUnavailable("throttled")

    caller = asyncio.create_task(SharedCalls[int](1.0).call("q", fail))
    with pytest.raises(asyncio.CancelledError):
        await caller
    gc.collect()


@warped
async def test_only_so_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """More are refused at once, whatever they ask, until one of them has gone."""
    monkeypatch.setattr(questions, "_MOST_WAITING", 3)
    asked, oracle = SharedCalls[int](10.0), Oracle()
    waiting = [*asking(asked, oracle, 2), *asking(asked, oracle, 1, "other")]
    await turns()
    for name in ("q", "another"):
        with pytest.raises(Overloaded) as caught:
            await asked.call(name, oracle)
        assert caught.value.retry_after == 1.0
    waiting.pop().cancel()
    await turns()
    assert await asyncio.gather(*waiting, asked.call("another", oracle)) == [1, 1, 3]


@warped
async def test_nobody_joins_what_is_forgotten() -> None:
    """Those who wait get its answer all the same, and do not put an end to the new one."""
    asked, oracle = SharedCalls[int](10.0), Oracle()
    (early,) = asking(asked, oracle, 1)
    await asyncio.sleep(0.5)
    asked.forget()
    (late,) = asking(asked, oracle, 1)
    assert await early == 1
    (later,) = asking(asked, oracle, 1)
    assert [await late, await later] == [2, 2]
