"""The shared tier on Redis or Valkey."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import Any, Final

from dynamodb_processor_server.cache.redis import scripts
from dynamodb_processor_server.cache.redis.port import (
    MOST_EVENTS,
    EpochChanged,
    LookupRequest,
    LookupResult,
    PollResult,
)
from dynamodb_processor_server.runtime.guarded_store import StoreError
from dynamodb_processor_server.runtime.redis import close_redis, connect, open_redis, run_script

_CONNECTIONS: Final = 32
_LEASE: Final = 1_000  # ms: longer than most reads, short enough to wait for one who has died
_YOUNG: Final = 2_000  # ms: longer than a replica's view may be old, and a look-up under way
_SPARE: Final = 60_000  # ms for which generations live longer than they must
_RANDOM_BYTES: Final = 16
_DIGEST: Final = 40  # hexadecimal digits in front of each page


class RedisStore:
    """The tier behind `url`. Callers bound what an operation takes, connecting included.

    All keys begin with `prefix`. That a tag was moved is known for at least `quarantine` seconds,
    which no look-up's `settling` exceeds. Raises ConfigurationError when the URL is none of
    Redis's.
    """

    def __init__(self, url: str, timeout: float, prefix: str, quarantine: float) -> None:
        self._redis = open_redis(url, timeout, _CONNECTIONS)
        self._prefix = prefix.encode()
        self._moves_live = _SPARE + int(quarantine * 1_000)
        self._look_up = self._redis.register_script(scripts.LOOK_UP)
        self._store = self._redis.register_script(scripts.STORE)
        self._invalidate = self._redis.register_script(scripts.INVALIDATE)
        self._poll = self._redis.register_script(scripts.POLL)
        self._renew = self._redis.register_script(scripts.RENEW)

    async def connect(self) -> None:
        """Have a connection, and the scripts loaded."""
        scripts = (self._look_up, self._store, self._invalidate, self._poll, self._renew)
        await connect(self._redis, scripts)

    async def lookup(self, asked: LookupRequest) -> LookupResult:
        """Return the page and the generations."""
        answer = await self._run(
            self._look_up,
            _random(),
            asked.epoch,
            asked.page,
            int(asked.quarantine * 1_000),
            _YOUNG,
            asked.lease or b"",
            _LEASE,
            _SPARE,
            int(asked.lifetime * 1_000),
            int(asked.wanted),
            *asked.tags,
        )
        match answer:
            case [bytes()]:
                raise EpochChanged
            case [bytes(), int(), int(), int(), bytes(), bytes(), list()]:
                _, sequence, settled, young, value, lease, generations = answer
                return LookupResult(
                    tuple(generations),
                    sequence,
                    bool(settled),
                    bool(young),
                    value[_DIGEST:] or None,
                    lease == b"mine",
                    lease == b"theirs",
                )
        raise StoreError("garbage")

    async def store(
        self, asked: LookupRequest, generations: tuple[bytes, ...], value: bytes, lifetime: float
    ) -> None:
        """Keep a page and give up its lease."""
        digest = _digest(generations)
        await self._run(
            self._store,
            asked.epoch,
            asked.page,
            asked.lease or b"",
            digest,
            digest + value,
            max(1, int(lifetime * 1_000)),
        )

    async def release(self, asked: LookupRequest, generations: tuple[bytes, ...]) -> None:
        """Give up the lease."""
        digest = _digest(generations)
        await self._run(self._store, asked.epoch, asked.page, asked.lease or b"", digest, b"", 1)

    async def invalidate(self, tags: Sequence[bytes], event: bytes) -> None:
        """Move tags and append an event."""
        await self._run(
            self._invalidate, _random(), b"", event, self._moves_live, MOST_EVENTS, *tags
        )

    async def poll(self, epoch: bytes, after: int, most: int) -> PollResult:
        """Return what was appended after a number."""
        match await self._run(self._poll, _random(), epoch, after, MOST_EVENTS, most):
            case [bytes() as current, int() as sequence, list() as flat]:
                numbers = [int(number.removesuffix(b"-0")) for number in flat[::2]]
                return PollResult(current, sequence, tuple(zip(numbers, flat[1::2], strict=True)))
        raise StoreError("garbage")

    async def renew(self, epoch: bytes) -> None:
        """Begin a new epoch."""
        await self._run(self._renew, _random(), epoch)

    async def close(self) -> None:
        """Close the connections."""
        await close_redis(self._redis)

    async def _run(self, script: Any, *arguments: bytes | int) -> Any:
        return await run_script(script, (self._prefix,), arguments)


def _random() -> bytes:
    return os.urandom(_RANDOM_BYTES).hex().encode()


def _digest(generations: tuple[bytes, ...]) -> bytes:
    """Return what marks pages of these generations. No secret; the seal is what protects them."""
    digest = hashlib.sha1(b"".join(generations), usedforsecurity=False)
    return digest.hexdigest().encode()
