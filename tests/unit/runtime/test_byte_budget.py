"""Tests of the bound on the bytes that concurrent work holds."""

from __future__ import annotations

import asyncio
from typing import Self

import pytest

from dynamodb_processor_server.runtime.byte_budget import ByteBudget


class _Work:
    """Tasks that each reserve bytes and hold them until they may end."""

    def __init__(self, limit: int) -> None:
        self.budget = ByteBudget(limit)
        self.holding: list[int] = []
        self._ends: dict[int, asyncio.Event] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def begin(self, number: int, size: int) -> asyncio.Task[None]:
        """Begin work under a number; return its task once that has had its turn."""
        task = asyncio.create_task(self._hold(number, size))
        self._tasks.append(task)
        await asyncio.sleep(0)
        return task

    def let_end(self, number: int) -> None:
        """Let work end at its next turn."""
        self._ends[number].set()

    async def end(self, number: int) -> None:
        """Let work end, and other work take its bytes."""
        self.let_end(number)
        for _ in range(4):
            await asyncio.sleep(0)

    async def _hold(self, number: int, size: int) -> None:
        self._ends[number] = asyncio.Event()
        async with self.budget.reserve(size):
            self.holding.append(number)
            await self._ends[number].wait()
            self.holding.remove(number)


async def test_no_more_bytes_are_held_than_the_limit() -> None:
    """Work waits in order: small work does not pass large work that came before it."""
    async with _Work(10) as work:
        for number, size in enumerate((6, 4, 5, 1)):
            await work.begin(number, size)
        assert work.holding == [0, 1]
        await work.end(1)
        assert work.holding == [0]
        await work.end(0)
        assert work.holding == [2, 3]


async def test_work_larger_than_the_limit_runs_alone() -> None:
    """It takes the whole budget, since it would wait forever for more."""
    async with _Work(10) as work:
        for number, size in enumerate((1, 100, 1)):
            await work.begin(number, size)
        assert work.holding == [0]
        await work.end(0)
        assert work.holding == [1]
        await work.end(1)
        assert work.holding == [2]


@pytest.mark.parametrize("granted", [False, True])
async def test_cancelled_work_leaves_its_bytes_to_others(granted: bool) -> None:
    """Work that is cancelled while it waits, or just as it gets its bytes, holds none."""
    async with _Work(10) as work:
        await work.begin(0, 10)
        waiting = await work.begin(1, 10)
        await work.begin(2, 10)
        if granted:
            work.let_end(0)
            await asyncio.sleep(0)  # 0 ends and grants 1 its bytes, which has not run since
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await work.end(0)
        assert work.holding == [2]
        await work.end(2)
        await work.begin(3, 10)
        assert work.holding == [3]


async def test_failed_work_leaves_its_bytes_to_others() -> None:
    """An error inside the block releases the bytes."""
    budget = ByteBudget(10)
    with pytest.raises(RuntimeError):
        async with budget.reserve(10):
            raise RuntimeError
    async with asyncio.timeout(1), budget.reserve(10):
        pass
