"""The contract of limits: in one process, over a store in memory, and over Redis."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass

import pytest

from dynamodb_processor_server.errors import ConfigurationError, RateLimited
from dynamodb_processor_server.limits.call_rate import CallRateLimits, Limiter, RateClass
from dynamodb_processor_server.limits.read_units import ReadUnitLimits
from dynamodb_processor_server.limits.redis.call_rate import SharedCallRateLimits
from dynamodb_processor_server.limits.redis.port import LIMIT_STORE_BREAKER, LimitStore
from dynamodb_processor_server.limits.redis.read_units import SharedBuckets
from dynamodb_processor_server.limits.redis.store import RedisLimitStore
from dynamodb_processor_server.runtime.circuit_breaker import CircuitBreaker
from dynamodb_processor_server.runtime.guarded_store import GuardedStore
from dynamodb_processor_server.runtime.token_bucket import LocalBucket
from tests.support.limits import Clock, MemoryLimitStore, charge, principal
from tests.support.redis_server import RedisServer

LONG = 1_000_000  # seconds: a window that does not end while a test runs
CLASSES: Mapping[str, RateClass] = {
    "default": RateClass(5 / LONG, LONG),
    "large": RateClass(7 / LONG, LONG),
    "narrow": RateClass(9 / LONG, LONG, table_calls_per_second=4 / LONG),
    "quick": RateClass(20, read_units_per_minute=6_000, table_read_units_per_minute=600),
}


@dataclass(frozen=True, slots=True)
class Ground:
    """Unused limits, and how time passes for them."""

    calls: Limiter
    read_units: ReadUnitLimits
    wait: Callable[[float], Awaitable[None]]
    flush: Callable[[], Awaitable[None]]

    async def accepted(self, name: str, rate_class: str, calls: int, table: str = "") -> int:
        """Return how many of so many calls at once are within the limits."""
        caller = principal(name, rate_class)
        ends = await asyncio.gather(
            *(charge(self.calls, caller, table) for _ in range(calls)), return_exceptions=True
        )
        refused = [end for end in ends if end is not None]
        assert all(isinstance(end, RateLimited) for end in refused), refused
        return calls - len(refused)

    async def refusal(self) -> RateLimited:
        """Call under a limit of twenty calls a second, and return the first refusal."""
        for _ in range(100):
            try:
                await charge(self.calls, principal("q", "quick"))
            except RateLimited as refusal:
                return refusal
        pytest.fail("a hundred calls were let through")

    async def balance(self, name: str, table: str) -> int | None:
        """Return the units left after all debits were sent."""
        caller = principal(name, "quick")
        try:
            self.read_units.check(caller, table)
        except RateLimited:
            return -1
        finally:
            await self.flush()
        return self.read_units.remaining(caller, table)


@pytest.fixture(params=["local", "memory", "redis"])
async def ground(request: pytest.FixtureRequest) -> AsyncIterator[Ground]:
    """Each kind of limits."""
    clock = Clock()

    async def advance(seconds: float) -> None:
        clock.now += seconds

    async def nothing() -> None:
        pass

    local = CallRateLimits(CLASSES, clock)
    if request.param == "local":
        buckets = ReadUnitLimits(CLASSES, lambda _, capacity: LocalBucket(capacity, clock))
        yield Ground(local, buckets, advance, nothing)
        return
    store: LimitStore
    if request.param == "memory":
        store, now, wait = MemoryLimitStore(clock), clock, advance
    else:
        server: RedisServer = request.getfixturevalue("redis_server")
        store = RedisLimitStore(server.url, 5.0, f"{uuid.uuid4().hex}:")
        now, wait = time.monotonic, asyncio.sleep  # type: ignore[assignment]
    guard = GuardedStore(CircuitBreaker(LIMIT_STORE_BREAKER, time.monotonic, lambda: 0.0), 5.0)
    shared = SharedBuckets(store, guard, now)
    yield Ground(
        SharedCallRateLimits(local, store, guard),
        ReadUnitLimits(CLASSES, shared.open),
        wait,
        shared.flush,
    )
    await shared.flush()
    await store.close()
    assert {outcome for _, outcome in guard.outcomes} <= {"done"}


async def test_calls_over_the_limit_are_refused_with_the_time_to_wait(ground: Ground) -> None:
    """After that time a call is accepted."""
    refused = await ground.refusal()
    assert refused.subject == "q"
    assert refused.message == "over the limit of 20 calls in 1 s"
    assert 0 < refused.retry_after <= 2
    await ground.wait(refused.retry_after + 0.005)
    await charge(ground.calls, principal("q", "quick"))


async def test_each_principal_has_a_limit_of_its_own(ground: Ground) -> None:
    """Calls at once do not exceed it, in any rate class."""
    assert await ground.accepted("a", "default", 50) == 5
    assert await ground.accepted("b", "default", 3) == 3
    assert await ground.accepted("a", "large", 50) == 7
    assert await ground.accepted("b", "default", 3) == 2


async def test_names_are_not_mixed_up(ground: Ground) -> None:
    """Names may have any characters."""
    names = ('a","b', "a b", "a:b", "a", "\N{SNOWMAN}", "")
    for name in names:
        assert await ground.accepted(name, "default", 6) == 5
        assert await ground.accepted(name, "narrow", 6, "b") == 4


async def test_calls_about_each_table_may_have_a_limit(ground: Ground) -> None:
    """It applies beside the limit in all; the refusal names principal and table."""
    assert await ground.accepted("a", "narrow", 50, "t") == 4
    assert await ground.accepted("a", "narrow", 50, "u") == 4
    assert await ground.accepted("b", "narrow", 2, "t") == 2
    assert await ground.accepted("a", "narrow", 50) == 9
    with pytest.raises(RateLimited) as caught:
        await charge(ground.calls, principal("a", "narrow"), "t")
    assert caught.value.subject == "a/t"
    assert caught.value.message == f"over the limit of 4 calls in {LONG} s on t"
    assert 0 < caught.value.retry_after <= 2 * LONG


async def test_a_class_without_a_table_limit_allows_any_number_of_calls(ground: Ground) -> None:
    """Such a call does not wait for the store."""
    assert await ground.accepted("a", "default", 50, "t") == 50
    assert ground.calls.charge(principal("a", "default"), "t") is None


async def test_an_unknown_rate_class_is_refused(ground: Ground) -> None:
    """The store gets no request."""
    with pytest.raises(ConfigurationError, match="gold"):
        await charge(ground.calls, principal(rate_class="gold"))


async def test_reads_are_refused_from_debt_until_it_is_paid(ground: Ground) -> None:
    """A read may take more than is left, and the refusal says when to come again."""
    caller = principal("r", "quick")
    assert await ground.balance("r", "t") == 600
    ground.read_units.charge(caller, "t", 600.5)
    assert ground.read_units.remaining(caller, "t") == 0
    with pytest.raises(RateLimited) as caught:
        ground.read_units.check(caller, "t")
    assert caught.value.subject == "r/t"
    assert caught.value.message == "over the limit of 600 read units per minute on t"
    assert 0 < caught.value.retry_after <= 0.05
    await ground.flush()
    await ground.wait(caught.value.retry_after + 0.05)
    ground.read_units.check(caller, "t")


async def test_a_table_may_have_a_limit_of_its_own(ground: Ground) -> None:
    """Its debt does not affect other tables and principals; the limit in all counts all tables."""
    caller = principal("r", "quick")
    ground.read_units.charge(caller, "t", 2_000)
    ground.read_units.charge(caller, "u", 500)
    await ground.flush()
    assert await ground.balance("r", "t") == -1
    assert await ground.balance("r", "u") in range(100, 110)
    assert await ground.balance("other", "t") == 600
    ground.read_units.charge(caller, "u", 6_000)
    await ground.flush()
    assert await ground.balance("r", "v") == -1
