# Written by `make proto` from the asynchronous client's `resume_policy.py`. Do not edit.
"""The policy for resuming broken streams: the number of attempts and the pauses between them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from dynamodb_processor_client.errors import QueryError

_MAX_DOUBLINGS = 1_000  # a float overflows at 1,024


@dataclass(frozen=True, slots=True)
class ResumePolicy:
    """When and how often a broken stream is resumed, and deferred keys are requested again.

    A stream is broken if it ends with UNAVAILABLE or without its last message. A stream that breaks
    before its first message is not resumed, because the channel has already retried the call.

    Attributes:
        attempts: Resumptions in a row without progress, at most. A message with items, or one that
            is further on in the search for them, resets the count. 0 turns resuming off.
        initial_backoff: Upper limit of the first pause in seconds. It doubles with each attempt.
        max_backoff: Upper limit of every pause in seconds, without the service's `retry_after`,
            which is added.
        max_retry_after: Longest `retry_after` of the service that is accepted, in seconds. After a
            longer one the stream ends with the error, which has the `retry_after`.
        sleep: Function that waits for a number of seconds.
        uniform: Function that returns a random number from [0, 1).
        clock: Function that returns monotonic seconds.
    """

    attempts: int = 5
    initial_backoff: float = 0.2
    max_backoff: float = 5.0
    max_retry_after: float = 60.0
    sleep: Callable[[float], object] = time.sleep
    uniform: Callable[[], float] = random.random
    clock: Callable[[], float] = time.monotonic

    def backoff_delay(self, attempt: int, error: QueryError) -> float:
        """Return the seconds to wait before an attempt, counted from 1, with full jitter."""
        doublings = min(attempt - 1, _MAX_DOUBLINGS)
        ceiling = min(self.initial_backoff * 2.0**doublings, self.max_backoff)
        return max(0.0, error.retry_after or 0.0) + self.uniform() * ceiling
