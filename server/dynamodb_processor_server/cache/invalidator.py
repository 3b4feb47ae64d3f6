"""Invalidations, heard by every replica where there is a shared tier."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import Final, Protocol

from dynamodb_processor_server.cache.generations import Generations
from dynamodb_processor_server.cache.redis.encryption import PageCipher
from dynamodb_processor_server.cache.redis.invalidation_log import FRESH_SECONDS
from dynamodb_processor_server.cache.redis.port import SharedCacheStore
from dynamodb_processor_server.errors import BackendUnavailable
from dynamodb_processor_server.query.planning.tags import Tag
from dynamodb_processor_server.runtime.guarded_store import StoreError

_TAGS_AT_ONCE: Final = 200


class Invalidator(Protocol):
    """Moves tags."""

    async def invalidate(self, tags: Sequence[Tag]) -> None:
        """Return when no replica serves what was read before.

        Raises BackendUnavailable if that is not certain; it is of this replica.
        """
        ...

    async def invalidate_async(self, tags: Sequence[Tag]) -> None:
        """Return when every replica will have heard of it within the freshness bound.

        Raises BackendUnavailable if that is not certain; it is of this replica.
        """
        ...


class LocalInvalidator:
    """For a replica that shares nothing."""

    def __init__(self, generations: Generations) -> None:
        self._generations = generations

    async def invalidate(self, tags: Sequence[Tag]) -> None:
        """Move tags."""
        self._generations.invalidate(tags)

    async def invalidate_async(self, tags: Sequence[Tag]) -> None:
        """Move tags."""
        self._generations.invalidate(tags)


class SharedInvalidator:
    """For replicas that share a tier. `outcomes` counts announcements by what became of them."""

    def __init__(
        self,
        generations: Generations,
        store: SharedCacheStore,
        sealer: PageCipher,
        timeout: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self._generations = generations
        self._store = store
        self._sealer = sealer
        self._timeout = timeout
        self._sleep = sleep

    async def invalidate(self, tags: Sequence[Tag]) -> None:
        """Move tags everywhere, and wait until no replica's view is older than that."""
        await self.invalidate_async(tags)
        await self._sleep(FRESH_SECONDS)

    async def invalidate_async(self, tags: Sequence[Tag]) -> None:
        """Move tags here and in the tier.

        Here a second time, because in between a page of the tier's earlier generations may have
        been taken over under the new local ones.
        """
        self._generations.invalidate(tags)
        left = iter(tags)
        try:
            while some := tuple(islice(left, _TAGS_AT_ONCE)):
                async with asyncio.timeout(self._timeout):
                    await self._store.invalidate(
                        self._sealer.all_tag_names(some), self._sealer.encrypt_event(some)
                    )
        except (StoreError, TimeoutError) as error:
            kind = error.kind if isinstance(error, StoreError) else "timeout"
            self.outcomes["invalidate", kind] += 1
            raise BackendUnavailable(
                "Redis did not take the invalidation, so other replicas may not have it: repeat "
                "the call"
            ) from None
        finally:
            self._generations.invalidate(tags)
        self.outcomes["invalidate", "done"] += 1
