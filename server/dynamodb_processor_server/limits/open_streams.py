"""A limit on open streams, as a client may make each hold two pages for as long as it likes."""

from __future__ import annotations

from collections import Counter
from typing import Final

from dynamodb_processor_server.errors import Overloaded

_RETRY_AFTER: Final = 1.0  # seconds


class OpenStreams:
    """A bound on open streams, of which no principal may have more than half."""

    def __init__(self, limit: int) -> None:
        """Create it without streams; `limit` is at least 2."""
        if limit < 2:
            raise ValueError("limit must be at least 2")
        self._limit = limit
        self._by_principal: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._by_principal.total()

    def enter(self, principal: str) -> None:
        """Count a stream in, or raise Overloaded."""
        if self._by_principal.get(principal, 0) >= self._limit // 2:
            raise Overloaded("too many streams of this principal are open", _RETRY_AFTER)
        if len(self) >= self._limit:
            raise Overloaded("too many streams are open", _RETRY_AFTER)
        self._by_principal[principal] += 1

    def leave(self, principal: str) -> None:
        """Count a stream out."""
        self._by_principal[principal] -= 1
        if not self._by_principal[principal]:
            del self._by_principal[principal]
