"""The store of shared items in Redis or Valkey: a part of `RedisStore`, on the same connections."""

from __future__ import annotations

import os
from collections.abc import Sequence
from math import ceil
from typing import Any, Final

from dynamodb_processor_server.cache.redis import item_scripts
from dynamodb_processor_server.cache.redis.item_port import (
    ItemsRequest,
    ItemsResult,
    ItemToStore,
    SharedItem,
    SharedWrite,
)
from dynamodb_processor_server.cache.redis.port import MAX_EVENTS, EpochChanged
from dynamodb_processor_server.runtime.guarded_store import StoreError
from dynamodb_processor_server.runtime.redis import RedisClient

#: Milliseconds for which a generation counts as new: longer than a replica's log is fresh, plus a
#: running lookup.
NEW_MS: Final = 2_000
#: Milliseconds that generations live longer than needed.
SPARE_MS: Final = 60_000
_RANDOM_BYTES: Final = 16
_PAST_QUARANTINE: Final = 2
_NEW_GENERATION: Final = 1


class RedisItemStore:
    """Stores items under keys that begin with `prefix`.

    `invalidation_lifetime` is how many milliseconds the invalidation of a tag is remembered.
    """

    def __init__(self, redis: RedisClient, prefix: bytes, invalidation_lifetime: int) -> None:
        self._redis = redis
        self._prefix = prefix
        self._invalidation_lifetime = invalidation_lifetime
        self._look_up = redis.script(item_scripts.LOOK_UP_ITEMS)
        self._store = redis.script(item_scripts.STORE_ITEMS)
        self._apply = redis.script(item_scripts.APPLY_WRITES)

    @property
    def scripts(self) -> tuple[Any, ...]:
        """The scripts, which are loaded when the connection is opened."""
        return self._look_up, self._store, self._apply

    async def lookup(self, request: ItemsRequest) -> ItemsResult:
        """Return the items and their generations."""
        names = [part for name, (_, *tags) in request.items for part in (name, *tags)]
        answer = await self._run(
            self._look_up,
            random_digits(),
            request.epoch,
            int(request.quarantine * 1_000),
            NEW_MS,
            SPARE_MS,
            int(request.lifetime * 1_000),
            int(request.wants_items),
            request.items[0].tags[0],
            *names,
        )
        match answer:
            case [bytes()]:
                raise EpochChanged
            case [bytes(), int(), list() as digests, list() as flags, list() as values] if (
                len(digests) == len(flags) == len(values) == len(request.items)
            ):
                return ItemsResult(answer[1], tuple(map(_shared_item, digests, flags, values)))
        raise StoreError("garbage")

    async def store(self, epoch: bytes, items: Sequence[ItemToStore]) -> None:
        """Store items whose generations are still current."""
        arguments: list[bytes | int] = []
        for (name, tags), generations, value, read_until, lifetime in items:
            order = b"r%040d" % ceil(read_until * 1_000)
            lives = max(1, int(lifetime * 1_000))
            arguments += (name, *tags, generations, order, value, lives)
        await self._run(self._store, epoch, *arguments)

    async def apply(self, epoch: bytes, writes: Sequence[SharedWrite], event: bytes) -> None:
        """Apply writes in order and append an event to the log."""
        arguments: list[bytes | int] = []
        for tags, others, sequence, replaces_until, items in writes:
            until = b"%040d" % max(0, int(replaces_until * 1_000))
            arguments += (b"%040d" % sequence, until, *tags, len(others), len(items), *others)
            for name, value, lifetime in items:
                arguments += (name, value, max(1, int(lifetime * 1_000)))
        primary = await self._redis.primary()
        await self._run(
            self._apply,
            random_digits(),
            epoch,
            event,
            self._invalidation_lifetime,
            MAX_EVENTS,
            SPARE_MS,
            *arguments,
        )
        # After it, as after an invalidation: an earlier primary may have taken the event.
        await self._redis.confirm(primary)

    async def _run(self, script: Any, *arguments: bytes | int) -> Any:
        return await self._redis.run(script, (self._prefix,), arguments)


def random_digits() -> bytes:
    """Return the random digits of a script's new generations."""
    return os.urandom(_RANDOM_BYTES).hex().encode()


def _shared_item(digest: bytes, flags: int, value: bytes) -> SharedItem:
    return SharedItem(
        digest, bool(flags & _PAST_QUARANTINE), bool(flags & _NEW_GENERATION), value or None
    )
