"""Limits on calls in flight, and on the bytes of responses that callers have not received yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dynamodb_processor_server.errors import Overloaded, RateLimited
from dynamodb_processor_server.runtime.bounded_state import SweptDict

_RETRY_AFTER: Final = 1.0  # seconds


@dataclass(slots=True, eq=False)
class Share:
    """One principal's calls in flight, and the bytes of responses that it has not received."""

    principal: str
    calls: int = 0
    unsent_bytes: int = 0


class CallsInFlight:
    """Bounds on the calls of authenticated callers, and on their unsent response bytes.

    A call is in flight until gRPC has sent its status. A response is unsent until gRPC has sent all
    of it, which waits for the caller's flow control. No principal may have more than half of
    either; a response larger than that passes while its principal has no other.

    A call looks up its principal's share once. Shares are kept until many are idle.
    """

    def __init__(self, max_calls: int, max_unsent_bytes: int, page_bytes: int = 0) -> None:
        """Create it with no calls.

        Args:
            max_calls: The most calls in flight, at least 2.
            max_unsent_bytes: The most bytes of unsent responses, at least 2.
            page_bytes: The size of a response for which a starting call needs room, so that no page
                is read only to be refused; at most an eighth of a share counts.
        """
        if max_calls < 2 or max_unsent_bytes < 2:
            raise ValueError("limit must be at least 2")
        self.calls = 0
        self.unsent_bytes = 0
        #: The number of refused calls, by bound.
        self.refused = {"calls": 0, "unsent_bytes": 0}
        self._max_calls = max_calls
        self._max_bytes = max_unsent_bytes
        self._half_of_calls = max_calls // 2
        self._half_of_bytes = max_unsent_bytes // 2
        self._room = min(page_bytes, max_unsent_bytes // 16)
        self._shares: SweptDict[str, Share] = SweptDict(lambda share: not share.calls)

    def enter(self, principal: str) -> Share:
        """Count a call in, and return its principal's share.

        Raises RateLimited or Overloaded if there are too many calls or bytes.
        """
        share = self._shares.get(principal)
        if share is None:
            share = self._shares.add(principal, Share(principal))
        if self.unsent_bytes:
            self._check_bytes(share, self._room)
        if share.calls >= self._half_of_calls:
            self.refused["calls"] += 1
            raise _own_limit("calls in progress", share, share.calls, self._half_of_calls)
        if self.calls >= self._max_calls:
            self.refused["calls"] += 1
            raise Overloaded("too many calls in progress, of all principals", _RETRY_AFTER)
        self.calls += 1
        share.calls += 1
        return share

    def leave(self, share: Share, unsent: int) -> None:
        """Count a call out, with the unsent bytes of its response."""
        self.calls -= 1
        share.calls -= 1
        self.unsent_bytes -= unsent
        share.unsent_bytes -= unsent

    def sending(self, share: Share, size: int) -> None:
        """Count a response's bytes in; raise RateLimited or Overloaded if there are too many."""
        if size and self.unsent_bytes:
            self._check_bytes(share, size)
        self.unsent_bytes += size
        share.unsent_bytes += size

    def sent(self, share: Share, size: int) -> None:
        """Count a response's bytes out."""
        self.unsent_bytes -= size
        share.unsent_bytes -= size

    def _check_bytes(self, share: Share, size: int) -> None:
        """Raise if there is no room for a response beside the unsent ones."""
        own = share.unsent_bytes
        if own and own + size > self._half_of_bytes:
            self.refused["unsent_bytes"] += 1
            raise _own_limit("bytes of answers not received", share, own, self._half_of_bytes)
        if self.unsent_bytes + size > self._max_bytes:
            self.refused["unsent_bytes"] += 1
            raise Overloaded(
                "too many bytes of answers not received, of all principals", _RETRY_AFTER
            )


def _own_limit(subject: str, share: Share, own: int, limit: int) -> RateLimited:
    message = f"too many {subject} of this principal: {own} of {limit}"
    return RateLimited(share.principal, message, _RETRY_AFTER)
