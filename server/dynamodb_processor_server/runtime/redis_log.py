"""Logs why Redis cannot be used, and the remedy where one is known."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf
from typing import Any, Final

import structlog

_log = structlog.get_logger(__name__)

_SAME_REASON_SECONDS: Final = 60.0
_MAX_REASONS: Final = 20

# Parts of Redis's error texts, with the operator's remedies.
NEEDS_BRACES: Final = "several cluster nodes need a redis_prefix in braces, such as {fleet}:"
_REMEDIES: Final = (
    ("ASK ", "the cluster is moving the keys; Redis can be used again when it has ended"),
    ("non local key", NEEDS_BRACES),
    ("CROSSSLOT", NEEDS_BRACES),
    (
        "MOVED ",
        f"a cluster needs redis+cluster:// or rediss+cluster://, and {NEEDS_BRACES}",
    ),
    ("cluster|slots", "a cluster needs the permission `+cluster|slots` too"),
    ("permission", "see 'What Redis must allow' in docs/architecture/security.md"),
    ("CERTIFICATE_VERIFY_FAILED", "see 'TLS' in docs/operations/redis.md"),
    ("read only replica", "redis_url must lead to the primary, or to its Sentinels"),
)


class RedisLog:
    """Logs why Redis cannot be used: each reason when it comes up, then once a minute at most."""

    def __init__(self, purpose: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Create it; the events are `<purpose>_not_reached` and `<purpose>_reached`."""
        self._purpose = purpose
        self._clock = clock
        self._failing = False
        self._logged: dict[tuple[str, str], float] = {}  # when, by reason; the latest last

    def failed(self, kind: str, words: str = "", **more: Any) -> None:
        """Log a failure, unless its reason was logged a moment ago."""
        self._failing = True
        reason, now = (kind, words), self._clock()
        if now - self._logged.get(reason, -inf) < _SAME_REASON_SECONDS:
            return
        self._logged.pop(reason, None)
        self._logged[reason] = now
        if len(self._logged) > _MAX_REASONS:
            del self._logged[next(iter(self._logged))]
        if words:
            more["redis_says"] = words
        if remedy := remedy_for(words):
            more["remedy"] = remedy
        _log.warning(f"{self._purpose}_not_reached", reason=kind, **more)

    def succeeded(self) -> None:
        """Log the end of failures; the next failure is logged in any case."""
        if self._failing:
            self._failing = False
            self._logged.clear()
            _log.info(f"{self._purpose}_reached")


def remedy_for(words: str) -> str:
    """Return the operator's remedy for an error text of Redis, "" if none is known."""
    return next((remedy for part, remedy in _REMEDIES if part in words), "")
