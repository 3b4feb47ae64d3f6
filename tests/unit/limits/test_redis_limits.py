"""Limits that replicas share, when their store fails, hangs or answers late."""

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
        self.asking = GuardedStore(
            CircuitBreaker(LIMIT_STORE_BREAKER, clock, lambda: 0.0), _TIMEOUT
        )
        self.local = CallRateLimits(_CLASSES, clock)
        self.calls = SharedCallRateLimits(self.local, store, self.asking)
        self.buckets = SharedBuckets(store, self.asking, clock)
        self.units = ReadUnitLimits(_CLASSES, self.buckets.open)

    async def accepted(self, calls: int, rate_class: str = "default", table: str = "") -> int:
        """Return how many of so many calls, one after the other, are let through."""
        count = 0
        for _ in range(calls):
            try:
                await charge(self.calls, principal(rate_class=rate_class), table)
            except RateLimited:
                continue
            count += 1
        return count

    def is_refused(self) -> bool:
        """Return whether a read is refused, as far as is known."""
        try:
            self.units.check(_CALLER, "t")
        except RateLimited:
            return True
        return False

    def outcomes(self, operation: str) -> dict[str, int]:
        """Return what became of an operation."""
        return {kind: n for (name, kind), n in self.asking.outcomes.items() if name == operation}


@pytest.fixture
def clock() -> Clock:
    """A clock that stands."""
    return Clock()


@pytest.fixture
def store(clock: Clock) -> MemoryLimitStore:
    """What the replicas share."""
    return MemoryLimitStore(clock)


@pytest.fixture
def pair(store: MemoryLimitStore, clock: Clock) -> tuple[Replica, Replica]:
    """Two replicas."""
    return Replica(store, clock), Replica(store, clock)


async def test_replicas_have_one_limit_of_calls(pair: tuple[Replica, Replica]) -> None:
    """Whichever of them is called, each call counts once."""
    one, other = pair
    assert await one.accepted(7) == 7
    assert await other.accepted(7) == 3
    assert await one.accepted(7) == 0
    assert one.outcomes("calls") == {"done": 14}


async def test_replicas_have_one_limit_of_calls_about_a_table(
    pair: tuple[Replica, Replica], store: MemoryLimitStore
) -> None:
    """And each its own while the store is lost, in which calls let through before count."""
    one, other = pair
    assert await one.accepted(7, "narrow", "events") == 7
    assert await other.accepted(7, "narrow", "events") == 3
    assert await other.accepted(7, "narrow", "flights") == 7
    store.failure = StoreError("unreachable")
    assert await one.accepted(7, "narrow", "events") == 3
    assert await one.accepted(20, "narrow") == 20


async def test_the_store_is_not_asked_where_there_is_no_limit(
    pair: tuple[Replica, Replica], store: MemoryLimitStore
) -> None:
    """Nor does a call wait for anything."""
    replica, _ = pair
    assert replica.calls.charge(_CALLER, "events") is None
    assert not store.call_messages
    assert replica.outcomes("calls") == {}


@pytest.mark.parametrize("fault", ["unreachable", "hung"])
async def test_without_the_store_each_has_the_limit(
    pair: tuple[Replica, Replica], store: MemoryLimitStore, clock: Clock, fault: str
) -> None:
    """Calls let through before count; afterwards they share it again."""
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


async def test_a_dead_store_is_left_alone(
    pair: tuple[Replica, Replica], store: MemoryLimitStore, clock: Clock
) -> None:
    """One message waits for it, then one for each cool-down, and no call beside that one."""
    replica, _ = pair
    store.hung = True
    assert await replica.accepted(50, "large") == 50
    assert replica.outcomes("calls") == {"timeout": 1, "rejected_by_breaker": 49}
    clock.now += 3.0
    probe = asyncio.create_task(replica.accepted(1, "large"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert replica.asking.breaker.state is CircuitState.HALF_OPEN
    assert await replica.accepted(50, "large") == 50
    assert not probe.done()
    assert await probe == 1
    assert replica.outcomes("calls") == {"timeout": 2, "rejected_by_breaker": 49}


async def test_a_busy_store_that_hangs_is_left_alone_soon(
    pair: tuple[Replica, Replica], store: MemoryLimitStore, clock: Clock
) -> None:
    """However many answers it has given just before."""
    replica, _ = pair
    for _ in range(500):
        assert await replica.accepted(1, "large") == 1
        clock.now += 0.002
    store.failure = StoreError("timeout")
    for _ in range(5):
        clock.now += 0.1
        assert await replica.accepted(1, "large") == 1
    assert replica.asking.breaker.state is CircuitState.OPEN


async def test_calls_at_once_share_messages(
    pair: tuple[Replica, Replica], store: MemoryLimitStore
) -> None:
    """One is under way at a time; who leaves before it is sent is not counted."""
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
    assert [len(message) for message in store.call_messages] == [1, 100, 50]


async def test_all_who_wait_for_a_store_that_hangs_wait_once(
    pair: tuple[Replica, Replica], store: MemoryLimitStore
) -> None:
    """Who came while its message was under way gives up with it."""
    replica, _ = pair
    store.hung = True
    assert sum(await asyncio.gather(*(replica.accepted(1, "large") for _ in range(500)))) == 500
    assert replica.outcomes("calls") == {"timeout": 1}


async def test_a_caller_who_leaves_speaks_against_nobody(
    pair: tuple[Replica, Replica], store: MemoryLimitStore
) -> None:
    """However many there are, the store is not blamed."""
    replica, _ = pair
    store.hung = True
    for _ in range(30):
        task = asyncio.create_task(charge(replica.calls, _CALLER))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert replica.asking.breaker.state is CircuitState.CLOSED


async def test_no_error_of_the_store_leaves_a_call_waiting(
    pair: tuple[Replica, Replica], store: MemoryLimitStore
) -> None:
    """Not even one that nobody thought of: the local limits decide."""
    replica, _ = pair
    store.failure = RuntimeError("nobody thought of this")
    told: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
    assert await replica.accepted(12) == 10
    gc.collect()
    assert set(map(str, told)) == {"nobody thought of this"}
    store.failure = None
    assert await replica.accepted(12, "large") == 12


async def test_what_one_consumes_is_charged_at_the_other(
    pair: tuple[Replica, Replica], clock: Clock
) -> None:
    """At once here, and there when what is known has become old; nobody waits for it."""
    one, other = pair
    assert not other.is_refused()
    await other.buckets.settle()
    one.units.charge(_CALLER, "t", 70)
    assert one.is_refused()
    await one.buckets.settle()
    assert not other.is_refused()
    await other.buckets.settle()
    assert not other.is_refused()
    clock.now += 0.26
    assert not other.is_refused()  # by the old balance; but it asks
    await other.buckets.settle()
    assert other.is_refused()
    clock.now += 10
    assert not one.is_refused()
    assert not other.is_refused()


async def test_charges_travel_together(
    pair: tuple[Replica, Replica], store: MemoryLimitStore
) -> None:
    """One message at a time; what is charged meanwhile goes with the next."""
    replica, _ = pair
    for number in range(20):
        replica.units.charge(_CALLER, "t", 1)
        assert replica.units.remaining(_CALLER, "t") == 59 - number
        if number == 10:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
    await replica.buckets.settle()
    assert replica.units.remaining(_CALLER, "t") == 40
    assert [[taking.units for taking in message] for message in store.unit_messages] == [
        [11.0, 11.0],
        [9.0, 9.0],
    ]


async def test_a_message_has_a_hundred_buckets_at_most(
    pair: tuple[Replica, Replica], store: MemoryLimitStore
) -> None:
    """However many there are to be sent."""
    replica, _ = pair
    for number in range(150):
        replica.units.charge(_CALLER, f"t{number}", 1)
    await replica.buckets.settle()
    assert [len(message) for message in store.unit_messages] == [100, 51]
    assert replica.is_refused()


async def test_units_are_counted_here_while_the_store_is_lost(
    pair: tuple[Replica, Replica], store: MemoryLimitStore, clock: Clock
) -> None:
    """From the balance last heard of; what was consumed meanwhile is not charged there later."""
    one, other = pair
    one.units.charge(_CALLER, "t", 50)
    await one.buckets.settle()
    store.failure = StoreError("unreachable")
    one.units.charge(_CALLER, "t", 20)
    await one.buckets.settle()
    assert one.is_refused()
    await one.buckets.settle()
    assert one.outcomes("read_units") == {"done": 1, "unreachable": 1}
    store.failure = None
    clock.now += 3.0
    assert one.is_refused()
    await one.buckets.settle()
    assert one.units.remaining(_CALLER, "t") == 13
    other.units.charge(_CALLER, "t", 5)
    await other.buckets.settle()
    assert other.units.remaining(_CALLER, "t") == 8


@given(
    steps=st.lists(
        st.tuples(st.integers(0, 1), st.floats(0, 3), st.integers(0, 30), st.booleans()),
        max_size=60,
    )
)
def test_a_principal_overdraws_by_what_it_has_under_way(
    steps: list[tuple[int, float, int, bool]],
) -> None:
    """Never more than one read of each replica over what has come back, when answers keep up."""

    async def run() -> None:
        clock = Clock()
        store = MemoryLimitStore(clock)
        replicas = Replica(store, clock), Replica(store, clock)
        start, consumed = clock.now, 0.0
        for which, pause, units, known in steps:
            clock.now += pause
            replica = replicas[which]
            replica.is_refused()  # whoever reads asks
            if known:
                await replica.buckets.settle()
            if replica.is_refused():
                continue
            replica.units.charge(_CALLER, "t", units)
            consumed += units
            await replica.buckets.settle()
            assert consumed <= 60 + (clock.now - start) + 2 * 30 + 1e-6

    asyncio.run(run())
