# Written by `make proto` from the asynchronous client's `deadlines.py`. Do not edit.
"""The deadline of an operation that may need several calls."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from dynamodb_processor_client.errors import DeadlineExceeded

_T = TypeVar("_T")


class Deadline:
    """A deadline `timeout` seconds after its creation, or none; `clock` returns seconds."""

    def __init__(self, timeout: float | None, clock: Callable[[], float]) -> None:
        """Start now; `timeout` is in seconds, `None` for no deadline."""
        self._timeout = timeout
        self._clock = clock
        self._began = clock()

    @property
    def elapsed(self) -> timedelta:
        """The time since the start."""
        return timedelta(seconds=self._clock() - self._began)

    def remaining(self, seconds: float, progress: str) -> float | None:
        """Return the remaining seconds; `None` without a deadline.

        Raises:
            DeadlineExceeded: No more than `seconds` remain. The message contains `progress`.
        """
        if self._timeout is None:
            return None
        left = self._began + self._timeout - self._clock()
        if left <= seconds:
            raise _passed(progress)
        return left

    def call(self, call: Callable[[float | None], _T], progress: str = "") -> _T:
        """Return the result of `call`, whose argument is the remaining seconds.

        Raises:
            DeadlineExceeded: The deadline passed before or during the call. The message contains
                `progress`.
        """
        seconds = self.remaining(0.0, progress)
        try:
            return call(seconds)
        except DeadlineExceeded as error:
            raise _passed(progress) from error


def _passed(progress: str) -> DeadlineExceeded:
    tail = f"; {progress}" if progress else ""
    return DeadlineExceeded(f"the deadline passed{tail}", reason="DEADLINE_EXCEEDED")
