"""What a replica knows of the invalidations of all: its view of the tier's stream.

The view is fresh for a moment after a poll that told everything. While it is, whatever was
acknowledged to whoever invalidated has moved the local generations. What may have been missed, by a
gap, a number that went back, another epoch or too many events, moves all of them.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from math import inf
from typing import Final, NoReturn

import structlog

from dynamodb_processor_server.cache.generations import Generations
from dynamodb_processor_server.cache.redis.encryption import DecryptionError, PageCipher
from dynamodb_processor_server.cache.redis.port import MOST_EVENTS, PollResult, SharedCacheStore
from dynamodb_processor_server.runtime.guarded_store import StoreError
from dynamodb_processor_server.runtime.redis_log import RedisLog

#: For how many seconds after a poll was sent its answer is good; what every replica relies on.
FRESH_SECONDS: Final = 0.5
_POLL_SECONDS: Final = 0.1
_MAY_BE_DISCONNECTED: Final = ("timeout", "unreachable")
_EVENTS_AT_ONCE: Final = 20  # then the event loop may see to others

_log = structlog.get_logger(__name__)


class InvalidationLogFollower:
    """Follows the stream and moves what is local accordingly.

    `clock` gives seconds and never goes back. `resets` counts, by reason, how often everything was
    moved; `failures` are polls that failed, by kind.
    """

    def __init__(
        self,
        store: SharedCacheStore,
        sealer: PageCipher,
        generations: Generations,
        timeout: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.epoch = b""
        self.sequence = 0
        self.resets: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self._store = store
        self._sealer = sealer
        self._generations = generations
        self._timeout = timeout
        self._clock = clock
        self._sleep = sleep
        self._fresh_until = -inf
        self._log = RedisLog("shared_cache", clock)
        self._connected = False
        self._most = MOST_EVENTS  # events to ask for

    @property
    def fresh(self) -> bool:
        """Whether every acknowledged invalidation has moved the local generations."""
        return self._clock() < self._fresh_until

    def mark_stale(self) -> None:
        """Be fresh no more until the next poll: the store was found to be in another epoch."""
        self._fresh_until = -inf

    async def follow(self) -> NoReturn:
        """Poll until cancelled."""
        while True:
            await self.poll()
            await self._sleep(_POLL_SECONDS)

    async def poll(self) -> None:
        """Look once at what was invalidated. A failure is counted, and lets the view age.

        What has to be connected first has longer than a poll: nobody waits for either.
        """
        try:
            if not self._connected:
                await self._store.connect()
                self._connected = True
            sent = self._clock()
            async with asyncio.timeout(self._timeout):
                polled = await self._store.poll(self.epoch, self.sequence, self._most)
                await self._take(polled, sent)
        except StoreError as error:
            self._failed(error.kind, error.words)
        except TimeoutError:
            self._most = max(1, self._most // 2)  # so many may take too long
            self._failed("timeout")
        except Exception:  # noqa: BLE001 - a defect must not end the following for good
            self._failed("defect")
        else:
            self._most = min(MOST_EVENTS, self._most + self._most // 4 + 1)
            if self.fresh:
                self._log.succeeded()

    async def _take(self, polled: PollResult, sent: float) -> None:
        behind = polled.sequence - self.sequence
        told = range(1, min(behind, self._most) + 1)
        if polled.epoch != self.epoch:
            self._reset("epoch" if self.epoch else "started", polled)
        elif behind < 0:
            self._reset("regress", polled)
        elif behind > MOST_EVENTS:
            self._reset("behind", polled)
        elif [number - self.sequence for number, _ in polled.events] != list(told):
            self._reset("gap", polled)
        else:
            await self._apply_events(polled)
        if self.sequence == polled.sequence:
            self._fresh_until = sent + FRESH_SECONDS

    async def _apply_events(self, polled: PollResult) -> None:
        for at, (number, event) in enumerate(polled.events, 1):
            try:
                self._generations.invalidate(self._sealer.decrypt_event(event))
            except DecryptionError:
                # It cannot be known which pages of the tier are over: no replica is to use any. As
                # long as that has not been brought about, the next poll meets the event again.
                self._drop("unreadable")
                self.mark_stale()
                await self._store.renew(polled.epoch)
                return
            self.sequence = number
            if at % _EVENTS_AT_ONCE == 0:
                await asyncio.sleep(0)

    def _reset(self, reason: str, polled: PollResult) -> None:
        self._drop(reason)
        self.epoch, self.sequence = polled.epoch, polled.sequence

    def _drop(self, reason: str) -> None:
        self._generations.invalidate_all()
        self.resets[reason] += 1
        _log.info("local_cache_dropped", reason=reason)

    def _failed(self, kind: str, words: str = "") -> None:
        if kind in _MAY_BE_DISCONNECTED:
            self._connected = False
        self.failures[kind] += 1
        if kind == "defect":
            self._log.failed(kind, exc_info=True)
        else:
            self._log.failed(kind, words)
