"""Tests that the demo loses no signal, at any point of the program."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

import pytest

from dynamodb_processor_server.demo.interruption import Interrupted, Interruption

_SIGNALS = [signal.SIGTERM, signal.SIGINT]


class Collected:
    """An object whose destructor is interrupted by a signal; an exception there is lost."""

    def __init__(self, number: signal.Signals) -> None:
        self._number = number

    def __del__(self) -> None:
        with contextlib.suppress(KeyboardInterrupt):  # as Python does, but without a word
            os.kill(os.getpid(), self._number)


@pytest.mark.parametrize("number", _SIGNALS)
def test_a_signal_ends_work_without_a_loop(number: signal.Signals) -> None:
    """Downloads and starts of programs, which may take a while, are interrupted."""
    with Interruption(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", _SIGNALS)
def test_a_signal_whose_exception_was_lost_takes_effect_later(number: signal.Signals) -> None:
    """The signal is recorded, and handled as soon as there is a loop."""

    async def begin(interruption: Interruption) -> None:
        interruption.use_loop()
        await interruption.unless_interrupted(asyncio.sleep(3_600))

    with Interruption() as interruption:
        Collected(number)
        with pytest.raises(Interrupted):
            asyncio.run(begin(interruption))


@pytest.mark.parametrize("number", _SIGNALS)
def test_a_signal_in_a_destructor_ends_the_work(number: signal.Signals) -> None:
    """So does a signal in a library's callback, or in code that catches everything."""

    async def work() -> None:
        Collected(number)
        await asyncio.sleep(3_600)

    async def begin(interruption: Interruption) -> None:
        interruption.use_loop()
        await interruption.unless_interrupted(work())

    with Interruption() as interruption, pytest.raises(Interrupted):
        asyncio.run(begin(interruption))


def test_work_that_swallows_a_cancellation_is_cancelled_again() -> None:
    """`wait_for` can swallow a cancellation in Python 3.11."""
    swallowed = 0

    async def work() -> None:
        nonlocal swallowed
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(2):
            try:
                await asyncio.sleep(3_600)
            except asyncio.CancelledError:
                swallowed += 1
        await asyncio.sleep(3_600)

    async def begin(interruption: Interruption) -> None:
        interruption.use_loop()
        await interruption.unless_interrupted(work())

    with Interruption() as interruption, pytest.raises(Interrupted):
        asyncio.run(begin(interruption))
    assert swallowed == 2


def test_work_that_is_done_returns_its_result() -> None:
    """A failure of the work is raised, and a later signal ends a wait for a signal."""

    async def fail() -> None:
        raise LookupError

    async def begin(interruption: Interruption) -> None:
        interruption.use_loop()
        assert await interruption.unless_interrupted(asyncio.sleep(0, "result")) == "result"
        with pytest.raises(LookupError):
            await interruption.unless_interrupted(fail())
        os.kill(os.getpid(), signal.SIGTERM)
        await interruption.wait()

    before = signal.getsignal(signal.SIGTERM)
    with Interruption() as interruption:
        asyncio.run(begin(interruption))
    assert signal.getsignal(signal.SIGTERM) is before
