"""Calls under way, and the bytes of their answers that callers have not taken yet."""

from __future__ import annotations

from collections import Counter
from typing import Final

from dynamodb_processor_server.errors import Overloaded, RateLimited

_RETRY_AFTER: Final = 1.0  # seconds


class _Bound:
    """An amount, bounded in all and for each principal, of which none has more than half."""

    def __init__(self, limit: int, what: str) -> None:
        if limit < 2:
            raise ValueError("limit must be at least 2")
        self.total = 0
        self.refused = 0
        self._limit = limit
        self._what = what
        self._by_principal: Counter[str] = Counter()

    def add(self, principal: str, amount: int) -> None:
        """Add to a principal's amount, or raise as `check` does."""
        self.check(principal, amount)
        self.total += amount
        self._by_principal[principal] += amount

    def check(self, principal: str, amount: int) -> None:
        """Raise RateLimited or Overloaded if there is no room for an amount.

        What is larger than a principal's whole share is let through while the principal has none.
        """
        own = self._by_principal.get(principal, 0)
        if own and own + amount > self._limit // 2:
            self.refused += 1
            message = f"too many {self._what} of this principal: {own} of {self._limit // 2}"
            raise RateLimited(principal, message, _RETRY_AFTER)
        if self.total and self.total + amount > self._limit:
            self.refused += 1
            raise Overloaded(f"too many {self._what} of all principals", _RETRY_AFTER)

    def take(self, principal: str, amount: int) -> None:
        """Take from a principal's amount what was added before."""
        self.total -= amount
        left = self._by_principal[principal] - amount
        if left:
            self._by_principal[principal] = left
        else:
            del self._by_principal[principal]


class CallsUnderWay:
    """Bounds on calls of authenticated callers and on the bytes of answers they have not taken.

    A call is under way until gRPC has sent its status; an answer is not taken until gRPC has sent
    all of it, which waits for the caller where its flow control says so. No principal has more than
    half of either.
    """

    def __init__(self, max_calls: int, max_unsent_bytes: int, page_bytes: int = 0) -> None:
        """Create it with nothing under way.

        Args:
            max_calls: Calls under way, at least 2.
            max_unsent_bytes: Bytes of answers not taken, at least 2.
            page_bytes: For how large an answer there has to be room when a call begins, so that
                what would be refused is not read; no more than an eighth of a share is asked for.
        """
        self._calls = _Bound(max_calls, "calls under way")
        self._room = min(page_bytes, max_unsent_bytes // 16)
        self._bytes = _Bound(max_unsent_bytes, "bytes of answers not taken")

    @property
    def calls(self) -> int:
        """The calls under way."""
        return self._calls.total

    @property
    def unsent_bytes(self) -> int:
        """The bytes of answers not taken."""
        return self._bytes.total

    @property
    def refused(self) -> dict[str, int]:
        """How many calls were refused so far, by which of the two bounds."""
        return {"calls": self._calls.refused, "unsent_bytes": self._bytes.refused}

    def enter(self, principal: str) -> None:
        """Count a call in; raise RateLimited or Overloaded if there are too many."""
        self._bytes.check(principal, self._room)
        self._calls.add(principal, 1)

    def leave(self, principal: str, unsent: int) -> None:
        """Count a call out, with the bytes of its answer that are not taken."""
        self._calls.take(principal, 1)
        if unsent:
            self._bytes.take(principal, unsent)

    def sending(self, principal: str, size: int) -> None:
        """Count an answer's bytes in; raise RateLimited or Overloaded if there are too many."""
        if size:
            self._bytes.add(principal, size)

    def sent(self, principal: str, size: int) -> None:
        """Count an answer's bytes out."""
        if size:
            self._bytes.take(principal, size)
