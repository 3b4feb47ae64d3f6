"""The model of `model.py` with several replicas; their shared cache loses data and is cut off."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from random import Random
from typing import Any, Final, Literal

from dynamodb_processor_server.cache.generations import Generations
from dynamodb_processor_server.cache.invalidator import (
    Invalidator,
    LocalInvalidator,
    SharedInvalidator,
)
from dynamodb_processor_server.cache.page_store import PageStore
from dynamodb_processor_server.cache.reader import CachingReader, cached_reader
from dynamodb_processor_server.cache.redis.encryption import PageCipher
from dynamodb_processor_server.cache.redis.invalidation_log import InvalidationLogFollower
from dynamodb_processor_server.cache.redis.port import SharedCacheStore
from dynamodb_processor_server.cache.redis.shared_cache import SharedPageCache
from dynamodb_processor_server.cache.table_progress import TableProgress
from dynamodb_processor_server.errors import BackendUnavailable
from dynamodb_processor_server.query.page_token import TokenKey
from dynamodb_processor_server.query.planning.plan import Plan
from dynamodb_processor_server.reader import PageReader
from dynamodb_processor_server.runtime.circuit_breaker import BreakerSettings, CircuitBreaker
from dynamodb_processor_server.runtime.guarded_store import GuardedStore
from tests.unit.cache.fragile_caches import FragileSharedCache, Line
from tests.unit.cache.model import READ_TIMEOUT, Model, Setting, Step

TIMEOUT: Final = 0.1
REPLICAS: Final = 2
#: Kinds of answers, of which every long run has many.
ANSWER_KINDS: Final = (
    "HIT",
    "SHARED_HIT",
    "COALESCED",
    "STALE",
    "from the shared cache",
    "look-ups failed",
    "not fresh",
    "acknowledged",
    "not acknowledged",
)
_CIPHER: Final = PageCipher((TokenKey("one", bytes(range(32))),))


class SharedAccess:
    """One replica's access to the shared cache."""

    def __init__(
        self,
        store: SharedCacheStore,
        generations: Generations,
        random: Random,
        now: Callable[[], float],
        when_unavailable: Literal["bypass", "serve_until_ttl"] = "bypass",
        progress: TableProgress | None = None,
        cipher: PageCipher = _CIPHER,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.line = Line(store, random)
        self.view = InvalidationLogFollower(
            self.line, cipher, generations, TIMEOUT, loop.time, progress
        )
        breaker = CircuitBreaker(BreakerSettings(open_seconds=0.5), loop.time, random.random)
        self.guard = GuardedStore(breaker, TIMEOUT)
        self.pages = SharedPageCache(
            self.line,
            cipher,
            self.view,
            self.guard,
            when_unavailable,
            now=now,
            jitter=random.random,
        )
        self.invalidator = SharedInvalidator(generations, self.line, cipher, TIMEOUT)
        self.following = asyncio.create_task(self.view.follow())

    async def close(self, answers: Counter[str]) -> None:
        """Stop following the log, and count the outcomes of commands."""
        self.following.cancel()
        await asyncio.wait((self.following,))
        assert self.following.cancelled(), self.following.exception()
        assert not self.view.failures["defect"]
        await self.pages.close()
        outcomes = self.guard.outcomes
        answers["from the shared cache"] += outcomes["look_up", "hit"]
        answers["look-ups failed"] += sum(
            outcomes["look_up", kind] for kind in ("timeout", "unreachable", "rejected_by_breaker")
        )
        answers["not fresh"] += outcomes["look_up", "not_fresh"]


class Replica:
    """The caches of one replica. `options` are further ones of its reader."""

    read_timeout = READ_TIMEOUT

    def __init__(
        self,
        backend: PageReader,
        setting: Setting,
        generations: Generations,
        now: Callable[[], float],
        access: SharedAccess | None,
        **options: Any,
    ) -> None:
        self.access = access
        self.invalidator: Invalidator = (
            LocalInvalidator(generations) if access is None else access.invalidator
        )
        self.store = PageStore(setting.store_bytes, now)
        self.reader = cached_reader(
            backend,
            self.store,
            generations,
            read_timeout=self.read_timeout,
            quarantine=setting.quarantine,
            shared=None if access is None else access.pages,
            now=now,
            jitter=lambda: 0.5,
            **options,
        )

    async def close(self, answers: Counter[str]) -> None:
        """End what runs."""
        await self.reader.close()
        if self.access is not None:
            await self.access.close(answers)


class SharedModel(Model):
    """One schedule for several replicas, which share a cache unless `shared` is None."""

    def __init__(self, setting: Setting, shared: FragileSharedCache | None, random: Random) -> None:
        super().__init__(setting)
        self._shared = shared
        self._random = random
        self.replicas = self._make_replicas(setting)
        self._under_way: list[asyncio.Task[None]] = []

    def _make_replicas(self, setting: Setting) -> Sequence[Replica]:
        return [self._make_replica(setting, number) for number in range(REPLICAS)]

    def _make_replica(self, setting: Setting, number: int) -> Replica:
        assert self._shared is not None
        generations = Generations(self._loop.time, setting.most_generations)
        now = self._loop.time
        access = SharedAccess(self._shared.store(number), generations, self._random, now)
        return Replica(self, setting, generations, now, access)

    def _act(self, step: Step) -> None:
        match step.act:
            case "write":
                super()._act(step)
            case "flush" | "evict" | "evict_items" | "cut":
                if self._shared is not None:
                    self._disturb(self._shared, step)
            case _:
                self._let(self._tell(self._replica(step), step))

    def _disturb(self, shared: FragileSharedCache, step: Step) -> None:
        if step.act == "flush":
            self._let(shared.flush())
        elif step.act == "evict":
            self._let(shared.evict())
        elif step.act == "evict_items":
            self._let(shared.evict_items())
        elif (access := self._replica(step).access) is not None:
            access.line.cut_until = self._loop.time() + step.takes
            self._let(shared.disconnect(step.replica % len(self.replicas)))

    def _let(self, happen: Coroutine[Any, Any, None]) -> None:
        self._under_way.append(asyncio.create_task(happen))

    async def _tell(self, replica: Replica, step: Step) -> None:
        tags, claims = self._invalidation(step)
        try:
            await replica.invalidator.invalidate(tags)
        except BackendUnavailable:
            self.answers["not acknowledged"] += 1
            return
        self.answers["acknowledged"] += 1
        self._acknowledge(claims)

    def _reader_for(self, step: Step) -> CachingReader:
        return self._replica(step).reader

    def _replica(self, step: Step) -> Replica:
        return self.replicas[step.replica % len(self.replicas)]

    def _lag_of(self, step: Step, plan: Plan) -> float:
        """A replica that is cut off does not know that it should read consistently."""
        return self._lags.of(plan)

    async def close(self) -> None:
        """End all reads that are still under way."""
        await super().close()
        await asyncio.gather(*self._under_way)
        for replica in self.replicas:
            await replica.close(self.answers)
