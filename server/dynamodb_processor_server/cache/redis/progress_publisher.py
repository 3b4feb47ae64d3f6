"""Sends the progress of the streams that this replica consumes to the other replicas.

It goes beside the invalidation log, not into it. In the log it would push out invalidations, and a
replica that has not polled the latest event may not store some pages in the shared cache.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import Final, NoReturn

from dynamodb_processor_server.cache.redis.encryption import PageCipher
from dynamodb_processor_server.cache.redis.invalidation_log import InvalidationLogFollower
from dynamodb_processor_server.cache.redis.port import SharedCacheStore
from dynamodb_processor_server.cache.table_progress import TableProgress
from dynamodb_processor_server.query.planning.tags import Tag
from dynamodb_processor_server.runtime.guarded_store import GuardedStore, StoreError

_PUBLISH_SECONDS: Final = 0.5


class ProgressPublisher:
    """Publishes this replica's own claims to the others, all of them in one command.

    A claim is made when its invalidations are in the log. A replica that finds the claim in a poll
    gets those invalidations by the same poll, or has them already.
    """

    def __init__(
        self,
        progress: TableProgress,
        store: SharedCacheStore,
        cipher: PageCipher,
        invalidation_log: InvalidationLogFollower,
        guard: GuardedStore,
    ) -> None:
        self._progress = progress
        self._store = store
        self._cipher = cipher
        self._invalidation_log = invalidation_log
        self._guard = guard
        self._published: dict[Tag, float] = {}

    async def run(self) -> NoReturn:
        """Publish twice a second until cancelled."""
        while True:
            await self.publish()
            await asyncio.sleep(_PUBLISH_SECONDS)

    async def publish(self) -> None:
        """Publish the claims that have advanced since the last time, if Redis can be used."""
        published = self._published
        claims = {
            tag: until
            for tag, until in self._progress.own.items()
            if until != published.get(tag, -inf)
        }
        if not claims or not self._invalidation_log.fresh:
            return
        epoch = self._invalidation_log.epoch
        value = self._cipher.encrypt_progress(claims, epoch)
        try:
            await self._guard.call("progress", lambda: self._store.note_progress(epoch, value))
        except StoreError:
            return  # it has been counted
        self._guard.outcomes["progress", "done"] += 1
        published.update(claims)
