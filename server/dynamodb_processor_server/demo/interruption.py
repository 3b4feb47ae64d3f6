"""Ctrl-C and SIGTERM: whenever one of them comes, the demo ends."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, Final, Self, TypeVar

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_AGAIN_SECONDS: Final = 0.5  # between cancellations of work that goes on in spite of one

_T = TypeVar("_T")


class Interrupted(Exception):
    """A signal came before the work was done."""


class Interruption:
    """Hears the two signals for the time of its `with`.

    Before there is an event loop, a signal raises KeyboardInterrupt where the program is. That may
    be in a destructor or a callback, where every exception is lost, so it is remembered as well.
    """

    def __init__(self) -> None:
        self._came = False
        self._signalled: asyncio.Event | None = None

    def __enter__(self) -> Self:
        self._before = [signal.signal(number, self._interrupt) for number in _SIGNALS]
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in zip(_SIGNALS, self._before, strict=True):
            signal.signal(number, handler)

    def _interrupt(self, *_: object) -> None:
        self._came = True
        raise KeyboardInterrupt

    def use_loop(self) -> None:
        """Have the running event loop hear the signals, which raises nothing anywhere."""
        self._signalled = asyncio.Event()
        for number in _SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, self._signalled.set)
        if self._came:
            self._signalled.set()

    async def wait(self) -> None:
        """Wait for a signal."""
        assert self._signalled is not None
        await self._signalled.wait()

    async def unless_interrupted(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Return what `work` returns; cancel it and raise Interrupted when a signal comes."""
        task = asyncio.create_task(work)
        waiting = asyncio.create_task(self.wait())
        try:
            await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                return task.result()
            while not task.done():
                task.cancel()
                await asyncio.wait((task,), timeout=_AGAIN_SECONDS)
        finally:
            waiting.cancel()
            task.cancel()
            await asyncio.wait((waiting, task))
        raise Interrupted
