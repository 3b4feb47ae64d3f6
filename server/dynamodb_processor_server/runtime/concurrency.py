"""Runs several reads at the same time, and waits for one in a bounded time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")


async def gather_or_cancel(reads: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Return the results of all reads, in their order; when one fails, the others are cancelled."""
    tasks = [asyncio.create_task(read) for read in reads]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def wait_until(task: asyncio.Task[Any], moment: float) -> bool:
    """Wait for the end of a task until a time of the event loop; return whether it has ended.

    `asyncio.wait` does so for any number of tasks, and takes three times as long.
    """
    if task.done():
        return True
    loop = asyncio.get_running_loop()
    woken = loop.create_future()

    def wake(_: object = None) -> None:
        if not woken.done():
            woken.set_result(None)

    timer = loop.call_at(moment, wake)
    task.add_done_callback(wake)
    try:
        await woken
    finally:
        timer.cancel()
        task.remove_done_callback(wake)
    return task.done()
