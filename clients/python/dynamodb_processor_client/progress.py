"""Whether calls that go on from one another's tokens get anywhere."""

from __future__ import annotations

from typing import Final

from dynamodb_processor.v1 import query_pb2
from dynamodb_processor_client.errors import Internal
from dynamodb_processor_client.options import Budget
from dynamodb_processor_client.pages import PageStats

_IDLE_CALLS: Final = 5
# An answer that took so many seconds is no busy loop; what it read may be withheld.
_LONG: Final = 1.0


def no_progress(detail: str) -> Internal:
    """Return the error for a service that would be asked the same for ever."""
    return Internal(f"the service makes no progress: {detail}", reason="NO_PROGRESS")


def has_progressed(before: str, after: str, stats: PageStats, seconds: float) -> bool:
    """Tell whether an answer without items went on: to another token, by reading or over a while.

    Args:
        before: The token that was gone on from.
        after: The token that came back.
        stats: What the answer took.
        seconds: How long it took to come.
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
    """Counts calls in a row that brought nothing."""

    def __init__(self) -> None:
        """Begin with none."""
        self._count = 0

    def record(self, *, progressed: bool) -> None:
        """Count a call.

        Raises:
            Internal: It is one of too many that did not move.
        """
        self._count = 0 if progressed else self._count + 1
        if self._count > _IDLE_CALLS:
            raise no_progress(f"{self._count} calls in a row brought nothing")
