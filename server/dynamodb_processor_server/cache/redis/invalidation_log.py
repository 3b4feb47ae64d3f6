"""Follows the invalidation log that all replicas share, and applies it to the local generations.

The log is fresh for a moment after a poll that returned every event. While it is fresh, each
acknowledged invalidation, by any replica, has invalidated the local generations. If events may have
been missed (a gap, a number that went back, another epoch, too many events), all local generations
are invalidated.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable
from math import inf
from typing import Final, NoReturn

import structlog

from dynamodb_processor_server.cache.generations import Generations
from dynamodb_processor_server.cache.redis.encryption import PageCipher
from dynamodb_processor_server.cache.redis.port import (
    FIRST_PROGRESS,
    MAX_EVENTS,
    PollResult,
    SharedCacheStore,
)
from dynamodb_processor_server.cache.table_progress import TableProgress
from dynamodb_processor_server.query.planning.tags import TAG_BYTES, Tag
from dynamodb_processor_server.runtime.guarded_store import StoreError
from dynamodb_processor_server.runtime.redis_log import RedisLog
from dynamodb_processor_server.runtime.rotating_cipher import DecryptionError

#: Seconds after the sending of a poll for which its result is fresh; every replica relies on it.
FRESH_SECONDS: Final = 0.5
_POLL_SECONDS: Final = 0.1
_MAY_BE_DISCONNECTED: Final = ("timeout", "unreachable")
_EVENTS_AT_ONCE: Final = 20  # then the event loop may run other tasks

_log = structlog.get_logger(__name__)


class InvalidationLogFollower:
    """Polls the invalidation log and invalidates local generations accordingly.

    `clock` gives seconds and never goes back. `resets` counts, by reason, how often all generations
    were invalidated; `failures` counts failed polls by kind. `progress` receives the claims of
    other replicas, after the invalidations that they speak for. `origin` is the first tag of events
    by which this process has invalidated its generations already: they are skipped, because they
    would drop the items that those writes refreshed. `received` counts the events of others.
    """

    def __init__(
        self,
        store: SharedCacheStore,
        cipher: PageCipher,
        generations: Generations,
        timeout: float,
        clock: Callable[[], float] = time.monotonic,
        progress: TableProgress | None = None,
    ) -> None:
        self.epoch = b""
        self.sequence = 0
        self.origin: Tag = os.urandom(TAG_BYTES)
        self.resets: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.received = 0
        self._store = store
        self._cipher = cipher
        self._generations = generations
        self._timeout = timeout
        self._clock = clock
        self._progress = progress
        self._progress_cursor = FIRST_PROGRESS
        self._fresh_until = -inf
        self._log = RedisLog("shared_cache", clock)
        self._connected = False
        self._max_events = MAX_EVENTS  # events to request in a poll

    @property
    def fresh(self) -> bool:
        """Whether every acknowledged invalidation has been applied to the local generations."""
        return self._clock() < self._fresh_until

    def mark_stale(self) -> None:
        """Stop being fresh until the next poll, because the store is in another epoch."""
        self._fresh_until = -inf

    async def follow(self) -> NoReturn:
        """Poll until cancelled."""
        while True:
            await self.poll()
            await asyncio.sleep(_POLL_SECONDS)

    async def poll(self) -> None:
        """Poll the log once. A failure is counted, and lets freshness end.

        Connecting may take longer than a poll: no caller waits for either.
        """
        try:
            if not self._connected:
                await self._store.connect()
                self._connected = True
            sent = self._clock()
            async with asyncio.timeout(self._timeout):
                polled = await self._store.poll(
                    self.epoch, self.sequence, self._max_events, self._progress_cursor
                )
                await self._apply(polled, sent)
        except StoreError as error:
            self._failed(error.kind, error.words)
        except TimeoutError:
            self._max_events = max(1, self._max_events // 2)  # so many events may take too long
            self._failed("timeout")
        except Exception:  # noqa: BLE001 - a defect must not end the polling
            self._failed("defect")
        else:
            self._max_events = min(MAX_EVENTS, self._max_events + self._max_events // 4 + 1)
            if self.fresh:
                self._log.succeeded()

    async def _apply(self, polled: PollResult, sent: float) -> None:
        lag = polled.sequence - self.sequence
        expected = range(1, min(lag, self._max_events) + 1)
        if polled.epoch != self.epoch:
            self._reset("epoch" if self.epoch else "started", polled)
        elif lag < 0:
            self._reset("regress", polled)
        elif lag > MAX_EVENTS:
            self._reset("behind", polled)
        elif [number - self.sequence for number, _ in polled.events] != list(expected):
            self._reset("gap", polled)
        else:
            await self._apply_events(polled)
        if self.sequence == polled.sequence:
            self._fresh_until = sent + FRESH_SECONDS
            self._receive_progress(polled)

    def _receive_progress(self, polled: PollResult) -> None:
        """Pass on the progress of a poll whose events have all been applied."""
        for cursor, value in polled.progress:
            self._progress_cursor = cursor
            try:
                claims = self._cipher.decrypt_progress(value, self.epoch)
            except DecryptionError:
                continue  # replicas with other keys tell nothing, and without it pages are read
            if self._progress is not None:
                self._progress.receive(claims)

    async def _apply_events(self, polled: PollResult) -> None:
        for count, (number, event) in enumerate(polled.events, 1):
            try:
                tags = self._cipher.decrypt_event(event)
                if tags[:1] != [self.origin]:
                    self.received += 1
                    self._generations.invalidate(tags)
            except DecryptionError:
                # The superseded pages of the shared cache are unknown, so no replica may use any
                # of them: a new epoch begins. If that fails, the next poll reads this event again.
                self._drop_local_pages("unreadable")
                self.mark_stale()
                await self._store.renew(polled.epoch)
                return
            self.sequence = number
            if count % _EVENTS_AT_ONCE == 0:
                await asyncio.sleep(0)

    def _reset(self, reason: str, polled: PollResult) -> None:
        self._drop_local_pages(reason)
        self.epoch, self.sequence = polled.epoch, polled.sequence
        self._progress_cursor = FIRST_PROGRESS

    def _drop_local_pages(self, reason: str) -> None:
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
