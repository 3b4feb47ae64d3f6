"""The store of the shared cache in Redis or Valkey."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

from dynamodb_processor_server.cache.redis import scripts
from dynamodb_processor_server.cache.redis.item_store import (
    NEW_MS,
    SPARE_MS,
    RedisItemStore,
    random_digits,
)
from dynamodb_processor_server.cache.redis.port import (
    FIRST_PROGRESS,
    MAX_EVENTS,
    MAX_PROGRESS,
    EpochChanged,
    LookupRequest,
    LookupResult,
    PollResult,
)
from dynamodb_processor_server.runtime.guarded_store import StoreError
from dynamodb_processor_server.runtime.redis import RedisClient

_CONNECTIONS: Final = 32
_LEASE_MS: Final = 1_000  # longer than most reads, short enough to wait for a dead replica's lease
_PROGRESS_MS: Final = 60_000
_DIGEST: Final = 40  # hexadecimal digits in front of each page


class RedisStore:
    """The store at `url`. Callers bound the time of each operation, connecting included.

    All keys begin with `prefix`. The store remembers the invalidation of a tag for at least
    `quarantine` seconds, which no lookup's quarantine exceeds. Raises ConfigurationError when the
    URL is not a Redis URL.
    """

    def __init__(self, url: str, timeout: float, prefix: str, quarantine: float) -> None:
        self._redis = RedisClient(url, timeout, _CONNECTIONS, key=prefix)
        self._prefix = prefix.encode()
        self._invalidation_lifetime = SPARE_MS + int(quarantine * 1_000)
        self.items = RedisItemStore(self._redis, self._prefix, self._invalidation_lifetime)
        self._look_up = self._redis.script(scripts.LOOK_UP)
        self._store = self._redis.script(scripts.STORE)
        self._invalidate = self._redis.script(scripts.INVALIDATE)
        self._poll = self._redis.script(scripts.POLL)
        self._note_progress = self._redis.script(scripts.NOTE_PROGRESS)
        self._renew = self._redis.script(scripts.RENEW)

    async def connect(self) -> None:
        """Open a connection, and load the scripts."""
        invalidations = (self._invalidate, self._poll, self._note_progress, self._renew)
        scripts = (self._look_up, self._store, *invalidations, *self.items.scripts)
        await self._redis.connect(scripts)

    def use(self, url: str) -> None:
        """Use another URL from now on."""
        self._redis.use(url)

    async def lookup(self, request: LookupRequest) -> LookupResult:
        """Return the page and the generations."""
        answer = await self._run(
            self._look_up,
            random_digits(),
            request.epoch,
            int(request.quarantine * 1_000),
            NEW_MS,
            SPARE_MS,
            int(request.lifetime * 1_000),
            request.page,
            request.lease or b"",
            _LEASE_MS,
            int(request.wants_page),
            *request.tags,
        )
        match answer:
            case [bytes()]:
                raise EpochChanged
            case [bytes(), int(), int(), int(), bytes(), bytes(), list()]:
                _, sequence, past_quarantine, is_new, value, lease, generations = answer
                return LookupResult(
                    tuple(generations),
                    sequence,
                    bool(past_quarantine),
                    bool(is_new),
                    value[_DIGEST:] or None,
                    lease == b"mine",
                    lease == b"theirs",
                )
        raise StoreError("garbage")

    async def store(
        self, request: LookupRequest, generations: tuple[bytes, ...], value: bytes, lifetime: float
    ) -> None:
        """Store a page and give up its lease."""
        digest = _digest(generations)
        await self._run(
            self._store,
            request.epoch,
            request.page,
            request.lease or b"",
            digest,
            digest + value,
            max(1, int(lifetime * 1_000)),
        )

    async def release(self, request: LookupRequest, generations: tuple[bytes, ...]) -> None:
        """Give up the lease."""
        digest = _digest(generations)
        await self._run(
            self._store, request.epoch, request.page, request.lease or b"", digest, b"", 1
        )

    async def invalidate(self, tags: Sequence[bytes], event: bytes) -> None:
        """Give tags new generations and append an event."""
        primary = await self._redis.primary()
        await self._run(
            self._invalidate,
            random_digits(),
            b"",
            event,
            self._invalidation_lifetime,
            MAX_EVENTS,
            *tags,
        )
        # After it: an earlier primary may have taken the event when others followed its successor.
        await self._redis.confirm(primary)

    async def poll(
        self, epoch: bytes, after: int, most: int, progress_after: bytes = FIRST_PROGRESS
    ) -> PollResult:
        """Return the events and the progress that are new, if the server is still the primary."""
        await self._redis.confirm(await self._redis.primary())
        arguments = (epoch, after, MAX_EVENTS, most, progress_after, MAX_PROGRESS)
        match await self._run(self._poll, random_digits(), *arguments):
            case [bytes() as current, int() as sequence, list() as flat, list() as progress]:
                numbers = [int(number.removesuffix(b"-0")) for number in flat[::2]]
                return PollResult(
                    current,
                    sequence,
                    tuple(zip(numbers, flat[1::2], strict=True)),
                    tuple(zip(progress[::2], progress[1::2], strict=True)),
                )
        raise StoreError("garbage")

    async def note_progress(self, epoch: bytes, value: bytes) -> None:
        """Keep a value for a minute, unless later ones push it out."""
        await self._run(
            self._note_progress, random_digits(), epoch, value, MAX_PROGRESS, _PROGRESS_MS
        )

    async def renew(self, epoch: bytes) -> None:
        """Begin a new epoch."""
        await self._run(self._renew, random_digits(), epoch)

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.close()

    async def _run(self, script: Any, *arguments: bytes | int) -> Any:
        return await self._redis.run(script, (self._prefix,), arguments)


def _digest(generations: tuple[bytes, ...]) -> bytes:
    """Return a digest that marks pages of these generations; encryption is their protection."""
    digest = hashlib.sha1(b"".join(generations), usedforsecurity=False)
    return digest.hexdigest().encode()
