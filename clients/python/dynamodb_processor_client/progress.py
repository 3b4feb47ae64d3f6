"""Detects operations without progress among those that follow the tokens of their calls."""

from __future__ import annotations

from typing import Final

from dynamodb_processor.v1 import query_pb2
from dynamodb_processor_client.errors import Internal
from dynamodb_processor_client.options import Budget
from dynamodb_processor_client.pages import PageStats

_IDLE_CALLS: Final = 5
# Seconds. An answer that took so long is not a busy loop; its cost may be withheld.
_LONG: Final = 1.0


def no_progress(detail: str) -> Internal:
    """Return the error for a service that makes no progress."""
    return Internal(f"the service makes no progress: {detail}", reason="NO_PROGRESS")


def has_progressed(before: str, after: str, stats: PageStats, seconds: float) -> bool:
    """Tell whether an answer without items made progress: a new token, after reads or a second.

    Args:
        before: The token of the request.
        after: The token of the answer.
        stats: The cost of the answer.
        seconds: The seconds between the request and the answer.
    """
    has_read = stats.items_scanned > 0 or stats.read_units > 0 or stats.backend_calls > 0
    return after != before and (has_read or seconds >= _LONG)


def is_cut_by_service(end: query_pb2.PageEnd.ValueType, token: str, budget: Budget | None) -> bool:
    """Tell whether a call ended only because of the service's time limit for one call.

    Then the client continues with `token`. A `max_duration` of the caller ends a call in the same
    way, but for good.
    """
    has_own_limit = budget is not None and budget.max_duration is not None
    return bool(token) and end == query_pb2.PAGE_END_TIME_BUDGET and not has_own_limit


class IdleCalls:
    """Counts consecutive calls without progress."""

    def __init__(self) -> None:
        """Start at zero."""
        self._count = 0

    def record(self, *, progressed: bool) -> None:
        """Record a call.

        Raises:
            Internal: Too many consecutive calls made no progress.
        """
        self._count = 0 if progressed else self._count + 1
        if self._count > _IDLE_CALLS:
            raise no_progress(f"{self._count} calls in a row without progress")
