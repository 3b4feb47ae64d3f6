"""Calls under way, and the bytes of their answers that callers have not taken yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dynamodb_processor_server.errors import Overloaded, RateLimited

_RETRY_AFTER: Final = 1.0  # seconds


@dataclass(slots=True, eq=False)
class Share:
    """What one principal has under way: calls, and bytes of answers that it has not taken."""

    principal: str
    calls: int = 0
    unsent_bytes: int = 0


class CallsInFlight:
    """Bounds on calls of authenticated callers and on the bytes of answers they have not taken.

    A call is under way until gRPC has sent its status; an answer is not taken until gRPC has sent
    all of it, which waits for the caller where its flow control says so. No principal has more than
    half of either; an answer larger than that is let through while its principal has no other.

    A call looks up its principal's share once. Shares are kept: there is one for each principal
    that has, or had, a key.
    """

    def __init__(self, max_calls: int, max_unsent_bytes: int, page_bytes: int = 0) -> None:
        """Create it with nothing under way.

        Args:
            max_calls: Calls under way, at least 2.
            max_unsent_bytes: Bytes of answers not taken, at least 2.
            page_bytes: For how large an answer there has to be room when a call begins, so that
                what would be refused is not read; no more than an eighth of a share is asked for.
        """
        if max_calls < 2 or max_unsent_bytes < 2:
            raise ValueError("limit must be at least 2")
        self.calls = 0
        self.unsent_bytes = 0
        #: How many calls were refused so far, by which of the two bounds.
        self.refused = {"calls": 0, "unsent_bytes": 0}
        self._max_calls = max_calls
        self._max_bytes = max_unsent_bytes
        self._half_of_calls = max_calls // 2
        self._half_of_bytes = max_unsent_bytes // 2
        self._room = min(page_bytes, max_unsent_bytes // 16)
        self._shares: dict[str, Share] = {}

    def enter(self, principal: str) -> Share:
        """Count a call in, and return the share that it belongs to.

        Raises RateLimited or Overloaded if there are too many calls or bytes.
        """
        share = self._shares.get(principal)
        if share is None:
            share = self._shares[principal] = Share(principal)
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
        """Count a call out, with the bytes of its answer that are not taken."""
        self.calls -= 1
        share.calls -= 1
        self.sent(share, unsent)

    def sending(self, share: Share, size: int) -> None:
        """Count an answer's bytes in; raise RateLimited or Overloaded if there are too many."""
        if size and self.unsent_bytes:
            self._check_bytes(share, size)
        self.unsent_bytes += size
        share.unsent_bytes += size

    def sent(self, share: Share, size: int) -> None:
        """Count an answer's bytes out."""
        self.unsent_bytes -= size
        share.unsent_bytes -= size

    def _check_bytes(self, share: Share, size: int) -> None:
        """Raise if there is no room for an answer beside those that are not taken."""
        own = share.unsent_bytes
        if own and own + size > self._half_of_bytes:
            self.refused["unsent_bytes"] += 1
            raise _own_limit("bytes of answers not received", share, own, self._half_of_bytes)
        if self.unsent_bytes + size > self._max_bytes:
            self.refused["unsent_bytes"] += 1
            raise Overloaded(
                "too many bytes of answers not received, of all principals", _RETRY_AFTER
            )


def _own_limit(what: str, share: Share, own: int, limit: int) -> RateLimited:
    message = f"too many {what} of this principal: {own} of {limit}"
    return RateLimited(share.principal, message, _RETRY_AFTER)
