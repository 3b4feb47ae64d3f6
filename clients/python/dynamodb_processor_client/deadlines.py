"""How long something that may need several calls may still take."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

from dynamodb_processor_client.errors import DeadlineExceeded

_T = TypeVar("_T")


class Deadline:
    """A moment so many seconds from now, or never. `clock` tells monotonic seconds."""

    def __init__(self, timeout: float | None, clock: Callable[[], float]) -> None:
        """Begin now; `timeout` is in seconds, `None` for no deadline."""
        self._timeout = timeout
        self._clock = clock
        self._began = clock()

    @property
    def elapsed(self) -> timedelta:
        """The time since the beginning."""
        return timedelta(seconds=self._clock() - self._began)

    def remaining(self, seconds: float, progress: str) -> float | None:
        """Return the time left, in seconds, `None` for any; there must be more than `seconds`.

        Raises:
            DeadlineExceeded: There is not; the error tells of the `progress` made.
        """
        if self._timeout is None:
            return None
        left = self._began + self._timeout - self._clock()
        if left <= seconds:
            raise _passed(progress)
        return left

    async def call(self, call: Callable[[float | None], Awaitable[_T]], progress: str = "") -> _T:
        """Return what `call` gives, which is told the seconds left.

        Raises:
            DeadlineExceeded: The time is or was over; the error tells of the `progress` made.
        """
        seconds = self.remaining(0.0, progress)
        try:
            return await call(seconds)
        except DeadlineExceeded as error:
            raise _passed(progress) from error


def _passed(progress: str) -> DeadlineExceeded:
    tail = f"; {progress}" if progress else ""
    return DeadlineExceeded(f"the deadline passed{tail}", reason="DEADLINE_EXCEEDED")
