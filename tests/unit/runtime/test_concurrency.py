"""Tests that a task is awaited until a time, and that the wait leaves nothing behind."""

from __future__ import annotations

import asyncio

import pytest

from dynamodb_processor_server.runtime.concurrency import wait_until
from tests.support.warped_time import warped


async def _sleep(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "done"


@pytest.mark.parametrize(("seconds", "expected"), [(1.0, True), (3.0, False)])
@warped
async def test_the_wait_ends_with_the_task_or_at_its_time(seconds: float, expected: bool) -> None:
    """The result says whether the task has ended; one that has not goes on."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    task = asyncio.create_task(_sleep(seconds))
    assert await wait_until(task, began + 2.0) is expected
    assert loop.time() - began == pytest.approx(min(seconds, 2.0))
    assert await task == "done"
    assert await wait_until(task, began), "a task that has ended needs no time"


@warped
async def test_a_failed_task_has_ended() -> None:
    """The failure stays with the task."""

    async def fail() -> None:
        raise ValueError("broken")

    task = asyncio.create_task(fail())
    assert await wait_until(task, asyncio.get_running_loop().time() + 1.0)
    with pytest.raises(ValueError, match="broken"):
        await task


@warped
async def test_a_cancelled_wait_does_not_cancel_the_task() -> None:
    """Others may wait for the same task."""
    task = asyncio.create_task(_sleep(2.0))
    waiting = asyncio.create_task(wait_until(task, asyncio.get_running_loop().time() + 9.0))
    await asyncio.sleep(1.0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not task.done()
    assert await task == "done"
