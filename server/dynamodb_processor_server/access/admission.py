"""Admission: how many reads run at once, and how many may wait for their turn."""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType

from dynamodb_processor_server.errors import Overloaded


class Admission:
    """A bound on concurrent reads, with a short queue that is served in order.

    Whoever is over both is refused at once: a long queue would only turn load into late answers.
    For one event loop; not safe across threads.

        async with admission:
            ...

    On a hot path, where a place is mostly free, the same without a coroutine:

        if not admission.try_enter():
            await admission.enter()
        try:
            ...
        finally:
            admission.leave()
    """

    def __init__(
        self, limit: int, queue: int, *, wait: float = 1.0, retry_after: float = 1.0
    ) -> None:
        """Create it empty.

        Args:
            limit: Reads at once, at least 1.
            queue: Reads waiting beyond them, at least 0.
            wait: Seconds that one waits at most.
            retry_after: Seconds after which the refused may try again.
        """
        if limit < 1 or queue < 0:
            raise ValueError("limit must be at least 1, and queue at least 0")
        self._limit = limit
        self._queue = queue
        self._wait = wait
        self._retry_after = retry_after
        self._active = 0
        self._waiters: deque[asyncio.Future[None]] = deque()

    @property
    def active(self) -> int:
        """The places taken."""
        return self._active

    @property
    def waiting(self) -> int:
        """The reads in the queue."""
        return len(self._waiters)

    def try_enter(self) -> bool:
        """Take a place if one is free and nobody waits for it, and return whether it was taken."""
        # Nobody waits while a place is free: `leave` hands it on, and who stops waiting is out of
        # the queue before anyone else runs.
        if self._active >= self._limit:
            return False
        self._active += 1
        return True

    async def enter(self) -> None:
        """Take a place, waiting for it in the queue.

        Raises:
            Overloaded: The queue is full, or the wait was too long.
        """
        if self.try_enter():
            return
        if len(self._waiters) >= self._queue:
            raise self._overloaded()
        turn = asyncio.get_running_loop().create_future()
        self._waiters.append(turn)
        try:
            async with asyncio.timeout(self._wait):
                await turn
        except BaseException as error:
            self._give_up(turn)
            if isinstance(error, TimeoutError):
                raise self._overloaded() from None
            raise

    def leave(self) -> None:
        """Give a place back: to the longest waiting, if there is one."""
        while self._waiters:
            turn = self._waiters.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        if self._active == 0:
            raise RuntimeError("left more often than entered")
        self._active -= 1

    def _give_up(self, turn: asyncio.Future[None]) -> None:
        if turn.done() and not turn.cancelled():
            # The place was handed over just before the cancellation arrived.
            self.leave()
        elif turn in self._waiters:
            self._waiters.remove(turn)

    def _overloaded(self) -> Overloaded:
        return Overloaded("the server takes no more reads at the moment", self._retry_after)

    async def __aenter__(self) -> None:
        await self.enter()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.leave()
