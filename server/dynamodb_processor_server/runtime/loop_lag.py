"""Measures the lag of the event loop: how late it runs a timer that is due."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from dynamodb_processor_server.runtime.histogram import Histogram

# Four timers a second cost some 0.01 % of a core, and a lag of 0.25 s is found by one of them.
_INTERVAL: Final = 0.25
_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


class LoopLag:
    """The lags of timers of the event loop, in seconds.

    Every call waits that long for its turn, so a rising lag is the first sign of a loop that is
    blocked or has more work than one core can do.
    """

    def __init__(
        self,
        clock: Callable[[], float] = _loop_time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.seconds = Histogram(_BOUNDS)
        self._clock = clock
        self._sleep = sleep

    async def watch(self) -> None:
        """Measure until it is cancelled."""
        while True:
            due = self._clock() + _INTERVAL
            await self._sleep(_INTERVAL)
            self.seconds.observe(max(0.0, self._clock() - due))
