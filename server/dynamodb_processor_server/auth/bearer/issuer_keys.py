"""The keys of one issuer that are in force, and their refresh."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, NoReturn

import structlog

from dynamodb_processor_server.auth.bearer.key_set import KeySet, KeySetError
from dynamodb_processor_server.auth.bearer.key_source import KeySource

_log = structlog.get_logger(__name__)

# Seconds between two reads that calls with unknown key ids cause.
_MIN_INTERVAL: Final = 1.0
# Calls that wait for one issuer's keys; more would be held open by tokens that nobody has verified.
_MAX_WAITING: Final = 1_000


class IssuerKeys:
    """Reads the key set of an issuer at intervals, and when a token names an unknown key.

    If a read fails, the earlier keys stay in force and the reason is logged once. Concurrent calls
    share one read. A call waits for as long as that takes, up to a bound: a file on a disk that
    hangs would take forever. Other calls never wait.

    Attributes:
        current: The keys in force; None before the first successful read.
        read_at: The time of the last successful read by `clock`, None if there is none.
        reads: The number of reads by outcome, "ok" or "failed".
    """

    def __init__(
        self,
        name: str,
        source: KeySource,
        on_change: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        longest_wait: float = 15.0,
    ) -> None:
        """Create it without keys.

        Args:
            name: The name of the issuer in logs.
            source: Where the key set is read.
            on_change: Called after other keys came into force.
            clock: Seconds, never going back.
            sleep: Waits for so many seconds.
            longest_wait: Seconds that a call waits at most; more than two reads take.
        """
        self.current: KeySet | None = None
        self.read_at: float | None = None
        self.reads = Counter[str]()
        self._name = name
        self._source = source
        self._on_change = on_change
        self._clock = clock
        self._sleep = sleep
        self._longest_wait = longest_wait
        self._read: asyncio.Task[None] | None = None
        self._is_reading = False
        self._next_read = clock()
        self._waiting = 0
        self._failure = ""

    @property
    def age(self) -> float | None:
        """Seconds since the last successful read, None if there was none."""
        return None if self.read_at is None else self._clock() - self.read_at

    async def refresh(self) -> None:
        """Read the key set again; return when that has succeeded or failed, or takes too long.

        A read that has begun before does not count: its answer may be older than the call's token.
        """
        if self._waiting >= _MAX_WAITING:
            return
        self._waiting += 1
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._longest_wait):
                    if self._is_reading and self._read is not None:
                        await asyncio.wait((self._read,))
                    await asyncio.wait((self._shared_read(),))
        finally:
            self._waiting -= 1

    async def watch(self, every: float) -> NoReturn:
        """Read the key set now and every `every` seconds, until cancelled."""
        try:
            while True:
                await asyncio.wait((self._shared_read(),))
                await self._sleep(every)
        finally:
            if self._read is not None:
                self._read.cancel()
                await asyncio.wait((self._read,))

    def _shared_read(self) -> asyncio.Task[None]:
        """Return the read under way, or a new one. Waiting for it never cancels it."""
        if self._read is None:
            self._read = asyncio.create_task(self._read_once())
        return self._read

    async def _read_once(self) -> None:
        try:
            if (wait := self._next_read - self._clock()) > 0:
                await self._sleep(wait)
            self._is_reading = True
            await self._adopt_content()
        finally:
            self._is_reading = False
            self._read = None
            self._next_read = self._clock() + _MIN_INTERVAL

    async def _adopt_content(self) -> None:
        try:
            keys = KeySet(await self._source.read())
        except KeySetError as error:
            self.reads["failed"] += 1
            self._log_failure(str(error))
            return
        except Exception as error:  # noqa: BLE001 - a defect must not end the refresh
            self.reads["failed"] += 1
            self._log_failure(f"cannot be read: {type(error).__name__}")
            return
        self.reads["ok"] += 1
        self.read_at = self._clock()
        self._failure = ""
        if keys != self.current:
            self.current = keys
            _log.info("bearer_keys_changed", issuer=self._name, keys=len(keys))
            self._on_change()

    def _log_failure(self, reason: str) -> None:
        """Log why the key set cannot be used, once until the reason changes."""
        if reason == self._failure:
            return
        self._failure = reason
        kept = "the earlier keys" if self.current else "no keys: its tokens are refused"
        _log.error(
            "bearer_keys_refused", issuer=self._name, reason=f"the key set {reason}", kept=kept
        )
