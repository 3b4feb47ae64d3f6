"""Invalidations, which reach every replica where there is a shared cache."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import Final, Protocol

from dynamodb_processor_server.cache.generations import Generations
from dynamodb_processor_server.cache.redis.encryption import PageCipher
from dynamodb_processor_server.cache.redis.invalidation_log import FRESH_SECONDS
from dynamodb_processor_server.cache.redis.port import SharedCacheStore
from dynamodb_processor_server.errors import BackendUnavailable
from dynamodb_processor_server.query.planning.tags import Tag
from dynamodb_processor_server.runtime.guarded_store import StoreError

_MAX_TAGS: Final = 200


class Invalidator(Protocol):
    """Invalidates tags."""

    async def invalidate(self, tags: Sequence[Tag]) -> None:
        """Invalidate tags; return when no replica serves pages that were read before.

        Raises BackendUnavailable if that is not certain; it is of this replica.
        """
        ...

    async def invalidate_async(self, tags: Sequence[Tag]) -> None:
        """Invalidate tags; return when every replica will receive that within `FRESH_SECONDS`.

        Raises BackendUnavailable if that is not certain; it is of this replica.
        """
        ...


class LocalInvalidator:
    """Invalidates the pages of a replica that shares nothing."""

    def __init__(self, generations: Generations) -> None:
        self._generations = generations

    async def invalidate(self, tags: Sequence[Tag]) -> None:
        """Invalidate tags."""
        self._generations.invalidate(tags)

    async def invalidate_async(self, tags: Sequence[Tag]) -> None:
        """Invalidate tags."""
        self._generations.invalidate(tags)


class SharedInvalidator:
    """Invalidates the pages of all replicas that share a cache. `outcomes` counts invalidations."""

    def __init__(
        self,
        generations: Generations,
        store: SharedCacheStore,
        cipher: PageCipher,
        timeout: float,
    ) -> None:
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self._generations = generations
        self._store = store
        self._cipher = cipher
        self._timeout = timeout

    async def invalidate(self, tags: Sequence[Tag]) -> None:
        """Invalidate tags everywhere, and wait until every replica has received that."""
        await self.invalidate_async(tags)
        await asyncio.sleep(FRESH_SECONDS)

    async def invalidate_async(self, tags: Sequence[Tag]) -> None:
        """Invalidate tags here and in the shared cache.

        Here a second time, because in between a page of the shared cache's earlier generations may
        have been stored under the new local ones.
        """
        self._generations.invalidate(tags)
        left = iter(tags)
        try:
            while some := tuple(islice(left, _MAX_TAGS)):
                async with asyncio.timeout(self._timeout):
                    await self._store.invalidate(
                        self._cipher.all_tag_names(some), self._cipher.encrypt_event(some)
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
