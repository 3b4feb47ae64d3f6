"""Shared limits when their store fails, hangs or answers late."""

from __future__ import annotations

import asyncio
import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamodb_processor_server.errors import RateLimited
from dynamodb_processor_server.limits.call_rate import CallRateLimits, RateClass
from dynamodb_processor_server.limits.read_units import ReadUnitLimits
from dynamodb_processor_server.limits.redis.call_rate import SharedCallRateLimits
from dynamodb_processor_server.limits.redis.port import LIMIT_STORE_BREAKER
from dynamodb_processor_server.limits.redis.read_units import SharedBuckets
from dynamodb_processor_server.runtime.circuit_breaker import CircuitBreaker, CircuitState
from dynamodb_processor_server.runtime.guarded_store import GuardedStore, StoreError
from tests.support.limits import Clock, MemoryLimitStore, charge, principal

_TIMEOUT = 0.02  # seconds
_CALLER = principal()
_CLASSES = {
    "default": RateClass(1, 10, read_units_per_minute=60, table_read_units_per_minute=6_000),
    "large": RateClass(1_000),
    "narrow": RateClass(1_000, 10, table_calls_per_second=1),
}


class Replica:
    """One replica's limits over a store."""

    def __init__(self, store: MemoryLimitStore, clock: Clock) -> None:
        self.guard = GuardedStore(CircuitBreaker(LIMIT_STORE_BREAKER, clock, lambda: 0.0), _TIMEOUT)
        self.local = CallRateLimits(_CLASSES, clock)
        self.calls = SharedCallRateLimits(self.local, store, self.guard)
        self.buckets = SharedBuckets(store, self.guard, clock)
        self.units = ReadUnitLimits(_CLASSES, self.buckets.open)

    async def accepted(self, calls: int, rate_class: str = "default", table: str = "") -> int:
        """Return how many of so many calls, one after the other, are accepted."""
        count = 0
        for _ in range(calls):
            try:
                await charge(self.calls, principal(rate_class=rate_class), table)
            except RateLimited:
                continue
            count += 1
        return count

    def is_refused(self) -> bool:
        """Return whether a read is refused, as far as known."""
        try:
            self.units.check(_CALLER, "t")
        except RateLimited:
            return True
        return False

    def outcomes(self, operation: str) -> dict[str, int]:
        """Return the outcomes of an operation."""
        return {kind: n for (name, kind), n in self.guard.outcomes.items() if name == operation}


@pytest.fixture
def clock() -> Clock:
    """A clock that a test sets."""
    return Clock()


@pytest.fixture
def store(clock: Clock) -> MemoryLimitStore:
    """The store that the replicas share."""
    return MemoryLimitStore(clock)


@pytest.fixture
def pair(store: MemoryLimitStore, clock: Clock) -> tuple[Replica, Replica]:
    """Two replicas."""
    return Replica(store, clock), Replica(store, clock)


async def test_replicas_have_one_limit_of_calls(pair: tuple[Replica, Replica]) -> None:
    """Each call counts once, on any replica."""
    one, other = pair
    assert await one.accepted(7) == 7
    assert await other.accepted(7) == 3
    assert await one.accepted(7) == 0
    assert one.outcomes("calls") == {"done": 14}


async def test_replicas_have_one_limit_of_calls_about_a_table(
    pair: tuple[Replica, Replica], store: MemoryLimitStore
) -> None:
    """While the store fails each replica has its own, which includes earlier calls."""
    one, other = pair
    assert await one.accepted(7, "narrow", "events") == 7
    assert await other.accepted(7, "narrow", "events") == 3
    assert await other.accepted(7, "narrow", "flights") == 7
    store.failure = StoreError("unreachable")
    assert await one.accepted(7, "narrow", "events") == 3
    assert await one.accepted(20, "narrow") == 20


async def test_a_call_without_a_limit_sends_no_request(
    pair: tuple[Replica, Replica], store: MemoryLimitStore
) -> None:
    """It does not wait for the store either."""
    replica, _ = pair
    assert replica.calls.charge(_CALLER, "events") is None
    assert not store.call_batches
    assert replica.outcomes("calls") == {}


@pytest.mark.parametrize("fault", ["unreachable", "hung"])
async def test_without_the_store_each_replica_has_the_whole_limit(
    pair: tuple[Replica, Replica], store: MemoryLimitStore, clock: Clock, fault: str
) -> None:
    """Earlier calls count; afterwards the replicas share the limit again."""
    one, other = pair
    assert await one.accepted(7) == 7
    store.failure, store.hung = StoreError("unreachable"), fault == "hung"
    clock.now += 0.6
    assert await one.accepted(5) == 3
    assert await other.accepted(12) == 10
    kind = "timeout" if fault == "hung" else "unreachable"
    assert one.outcomes("calls") == {"done": 7, kind: 1, "rejected_by_breaker": 4}
    assert other.outcomes("calls") == {kind: 1, "rejected_by_breaker": 11}
    store.failure, store.hung = None, False
    clock.now += 20.0
    assert await one.accepted(7) + await other.accepted(7) == 10


async def test_the_breaker_opens_for_a_dead_store(
    pair: tuple[Replica, Replica], store: MemoryLimitStore, clock: Clock
) -> None:
    """One batch waits for it, then one each time the breaker is half open, and no other call."""
    replica, _ = pair
    store.hung = True
    assert await replica.accepted(50, "large") == 50
    assert replica.outcomes("calls") == {"timeout": 1, "rejected_by_breaker": 49}
    clock.now += 3.0
    probe = asyncio.create_task(replica.accepted(1, "large"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert replica.guard.breaker.state is CircuitState.HALF_OPEN
    assert await replica.accepted(50, "large") == 50
    assert not probe.done()
    assert await probe == 1
    assert replica.outcomes("calls") == {"timeout": 2, "rejected_by_breaker": 49}


async def test_the_breaker_opens_soon_for_a_busy_store_that_hangs(
    pair: tuple[Replica, Replica], store: MemoryLimitStore, clock: Clock
) -> None:
    """It opens however many commands have just succeeded."""
    replica, _ = pair
    for _ in range(500):
        assert await replica.accepted(1, "large") == 1
        clock.now += 0.002
    store.failure = StoreError("timeout")
    for _ in range(5):
        clock.now += 0.1
        assert await replica.accepted(1, "large") == 1
    assert replica.guard.breaker.state is CircuitState.OPEN


async def test_concurrent_calls_share_batches(
    pair: tuple[Replica, Replica], store: MemoryLimitStore
) -> None:
    """One is under way at a time; a call cancelled before its batch is sent is not counted."""
    replica, _ = pair
    first = asyncio.create_task(replica.accepted(1, "large"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    rest = [asyncio.create_task(replica.accepted(1, "large")) for _ in range(150)]
    rest.append(gone := asyncio.create_task(replica.accepted(1, "large")))
    await asyncio.sleep(0)
    gone.cancel()
    ends = await asyncio.gather(first, *rest, return_exceptions=True)
    assert ends[:-1] == [1] * 151
    assert isinstance(ends[-1], asyncio.CancelledError)
    assert [len(batch) for batch in store.call_batches] == [1, 100, 50]


async def test_calls_wait_only_once_for_a_store_that_hangs(
    pair: tuple[Replica, Replica], store: MemoryLimitStore
) -> None:
    """Calls that arrive while a batch is under way fail together with it."""
    replica, _ = pair
    store.hung = True
    assert sum(await asyncio.gather(*(replica.accepted(1, "large") for _ in range(500)))) == 500
    assert replica.outcomes("calls") == {"timeout": 1}


async def test_cancelled_calls_do_not_count_as_failures(
    pair: tuple[Replica, Replica], store: MemoryLimitStore
) -> None:
    """However many are cancelled, the breaker stays closed."""
    replica, _ = pair
    store.hung = True
    for _ in range(30):
        task = asyncio.create_task(charge(replica.calls, _CALLER))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert replica.guard.breaker.state is CircuitState.CLOSED


async def test_no_error_of_the_store_leaves_a_call_waiting(
    pair: tuple[Replica, Replica], store: MemoryLimitStore
) -> None:
    """An unexpected error makes the local limits decide, too."""
    replica, _ = pair
    store.failure = RuntimeError("an unexpected error")
    reported: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
    assert await replica.accepted(12) == 10
    gc.collect()
    assert set(map(str, reported)) == {"an unexpected error"}
    store.failure = None
    assert await replica.accepted(12, "large") == 12


async def test_units_consumed_at_one_replica_are_charged_at_the_other(
    pair: tuple[Replica, Replica], clock: Clock
) -> None:
    """They count at once here, and there after a refresh; no read waits for it."""
    one, other = pair
    assert not other.is_refused()
    await other.buckets.flush()
    one.units.charge(_CALLER, "t", 70)
    assert one.is_refused()
    await one.buckets.flush()
    assert not other.is_refused()
    await other.buckets.flush()
    assert not other.is_refused()
    clock.now += 0.26
    assert not other.is_refused()  # by the old balance; but it requests the new one
    await other.buckets.flush()
    assert other.is_refused()
    clock.now += 10
    assert not one.is_refused()
    assert not other.is_refused()


async def test_charges_share_batches(
    pair: tuple[Replica, Replica], store: MemoryLimitStore
) -> None:
    """One batch is under way at a time; later charges go with the next."""
    replica, _ = pair
    for number in range(20):
        replica.units.charge(_CALLER, "t", 1)
        assert replica.units.remaining(_CALLER, "t") == 59 - number
        if number == 10:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
    await replica.buckets.flush()
    assert replica.units.remaining(_CALLER, "t") == 40
    assert [[debit.units for debit in batch] for batch in store.unit_batches] == [
        [11.0, 11.0],
        [9.0, 9.0],
    ]


async def test_a_batch_has_at_most_a_hundred_buckets(
    pair: tuple[Replica, Replica], store: MemoryLimitStore
) -> None:
    """More of them go with later batches."""
    replica, _ = pair
    for number in range(150):
        replica.units.charge(_CALLER, f"t{number}", 1)
    await replica.buckets.flush()
    assert [len(batch) for batch in store.unit_batches] == [100, 51]
    assert replica.is_refused()


async def test_units_are_counted_locally_while_the_store_fails(
    pair: tuple[Replica, Replica], store: MemoryLimitStore, clock: Clock
) -> None:
    """They count from the last known balance, and are not charged to the store later."""
    one, other = pair
    one.units.charge(_CALLER, "t", 50)
    await one.buckets.flush()
    store.failure = StoreError("unreachable")
    one.units.charge(_CALLER, "t", 20)
    await one.buckets.flush()
    assert one.is_refused()
    await one.buckets.flush()
    assert one.outcomes("read_units") == {"done": 1, "unreachable": 1}
    store.failure = None
    clock.now += 3.0
    assert one.is_refused()
    await one.buckets.flush()
    assert one.units.remaining(_CALLER, "t") == 13
    other.units.charge(_CALLER, "t", 5)
    await other.buckets.flush()
    assert other.units.remaining(_CALLER, "t") == 8


@given(
    steps=st.lists(
        st.tuples(st.integers(0, 1), st.floats(0, 3), st.integers(0, 30), st.booleans()),
        max_size=60,
    )
)
def test_a_principal_overdraws_by_its_running_reads(
    steps: list[tuple[int, float, int, bool]],
) -> None:
    """The overdraft is at most one read of each replica, while responses arrive in time."""

    async def run() -> None:
        clock = Clock()
        store = MemoryLimitStore(clock)
        replicas = Replica(store, clock), Replica(store, clock)
        start, consumed = clock.now, 0.0
        for which, pause, units, known in steps:
            clock.now += pause
            replica = replicas[which]
            replica.is_refused()  # a read requests the balance
            if known:
                await replica.buckets.flush()
            if replica.is_refused():
                continue
            replica.units.charge(_CALLER, "t", units)
            consumed += units
            await replica.buckets.flush()
            assert consumed <= 60 + (clock.now - start) + 2 * 30 + 1e-6

    asyncio.run(run())
