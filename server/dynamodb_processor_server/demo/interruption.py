"""Ctrl-C and SIGTERM, which end the demo at any moment."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, Final, Self, TypeVar

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_AGAIN_SECONDS: Final = 0.5  # between cancellations of work that ignores one

_T = TypeVar("_T")


class Interrupted(Exception):
    """A signal came before the end of the work."""


class Interruption:
    """Handles the two signals during its `with`.

    Before there is an event loop, a signal raises `KeyboardInterrupt` in the running code. That may
    be a destructor or a callback, where exceptions are lost, so the signal is recorded as well.
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
        """Let the running event loop handle the signals, without an exception."""
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
        """Return the result of `work`; cancel it and raise `Interrupted` on a signal."""
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
