"""Tests of timeouts that take no time: an event loop on which waiting only moves the clock."""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

_P = ParamSpec("_P")


class WarpedLoop(asyncio.SelectorEventLoop):
    """A loop whose clock jumps to the next timer whenever there is nothing else to do."""

    def __init__(self) -> None:
        self._warped = 1_000.0
        super().__init__(_WarpingSelector(self))

    def time(self) -> float:
        """Return the loop's own time, in seconds."""
        return self._warped

    def warp(self, seconds: float) -> None:
        """Move the clock on."""
        self._warped += seconds


class _WarpingSelector(selectors.DefaultSelector):
    def __init__(self, loop: WarpedLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "every task waits for something that nobody will do"
            self._loop.warp(timeout)
        return ready


def warped(test: Callable[_P, Coroutine[Any, Any, None]]) -> Callable[_P, None]:
    """Make an asynchronous test run on a `WarpedLoop`, and fail if it leaves a task or an error."""

    @functools.wraps(test)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> None:
        errors: list[dict[str, Any]] = []

        async def body() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, error: errors.append(error))
            await test(*args, **kwargs)
            for _ in range(5):
                await asyncio.sleep(0)
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, f"tasks still running at the end of the test: {left}"

        with asyncio.Runner(loop_factory=WarpedLoop) as runner:
            runner.run(body())
        assert not errors, errors

    return run
