"""The progress of one replica reaches the others, after the invalidations that it speaks for."""

from __future__ import annotations

import asyncio
from math import inf
from random import Random
from typing import Final

import pytest

from dynamodb_processor_server.cache.generations import Generations
from dynamodb_processor_server.cache.invalidator import SharedInvalidator
from dynamodb_processor_server.cache.redis.encryption import PageCipher
from dynamodb_processor_server.cache.redis.invalidation_log import (
    FRESH_SECONDS,
    InvalidationLogFollower,
)
from dynamodb_processor_server.cache.redis.port import (
    FIRST_PROGRESS,
    MAX_EVENTS,
    MAX_PROGRESS,
    PollResult,
)
from dynamodb_processor_server.cache.redis.progress_publisher import ProgressPublisher
from dynamodb_processor_server.cache.table_progress import TableProgress
from dynamodb_processor_server.query.page_token import TokenKey
from dynamodb_processor_server.query.planning.tags import tags_of_table
from dynamodb_processor_server.runtime.circuit_breaker import BreakerSettings, CircuitBreaker
from dynamodb_processor_server.runtime.guarded_store import GuardedStore, StoreError
from tests.support.shared_cache import MemorySharedCache
from tests.support.warped_time import warped
from tests.unit.query.tables import make_table

KEY: Final = TokenKey("one", bytes(range(32)))
TIMEOUT: Final = 1.0
TABLE: Final = make_table()
TAGS: Final = tags_of_table(TABLE.schema.identity)


class _FailingStore(MemorySharedCache):
    """A store that refuses to note progress while `refuses`.

    A poll with more than `fits` events times out.
    """

    refuses = False
    fits = MAX_EVENTS

    async def poll(
        self, epoch: bytes, after: int, most: int, progress_after: bytes = FIRST_PROGRESS
    ) -> PollResult:
        """Poll, or time out."""
        polled = await super().poll(epoch, after, most, progress_after)
        if len(polled.events) > self.fits:
            raise TimeoutError
        return polled

    async def note_progress(self, epoch: bytes, value: bytes) -> None:
        """Note it, or fail."""
        if self.refuses:
            raise StoreError("refused")
        await super().note_progress(epoch, value)


class Clock:
    """A clock set by hand."""

    now = 1_000.0

    def __call__(self) -> float:
        """Return its time."""
        return self.now


class Replica:
    """One replica, which follows the log and publishes its progress when a test says so."""

    def __init__(self, store: _FailingStore, clock: Clock, key: TokenKey = KEY) -> None:
        self.progress = TableProgress(0.5, clock)
        self.generations = Generations(clock)
        cipher = PageCipher((key,))
        self.log = InvalidationLogFollower(
            store, cipher, self.generations, TIMEOUT, clock, self.progress
        )
        breaker = CircuitBreaker(BreakerSettings(), clock, lambda: 0.5)
        self.guard = GuardedStore(breaker, TIMEOUT)
        self.publisher = ProgressPublisher(self.progress, store, cipher, self.log, self.guard)
        self.invalidator = SharedInvalidator(self.generations, store, cipher, TIMEOUT)

    @property
    def until(self) -> float:
        """The time that it knows for the table."""
        return self.progress.until(TABLE, TABLE.schema.base)


class Fleet:
    """Two replicas that have polled once; the first consumes the table's stream."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.store = _FailingStore(self.clock, Random(1))
        self.leader, self.other = (Replica(self.store, self.clock) for _ in range(2))

    async def claim(self, until: float) -> None:
        """Have the first replica claim a time, and publish it."""
        self.leader.progress.claim(TABLE, until)
        await self.leader.publisher.publish()


@pytest.fixture
async def fleet() -> Fleet:
    """Two replicas."""
    fleet = Fleet()
    for replica in (fleet.leader, fleet.other):
        await replica.log.poll()
    return fleet


async def test_another_replica_learns_the_progress_with_its_next_poll(fleet: Fleet) -> None:
    """The time is by the clock of the first, so the largest difference of clocks is taken off."""
    await fleet.claim(990.0)
    assert fleet.other.until == -inf
    await fleet.other.log.poll()
    assert fleet.other.until == 989.5
    await fleet.leader.log.poll()
    assert fleet.leader.until == 990.0, "its own claim needs no margin"
    await fleet.claim(995.0)
    await fleet.other.log.poll()
    assert fleet.other.until == 994.5


async def test_progress_counts_when_all_earlier_invalidations_have_been_applied(
    fleet: Fleet,
) -> None:
    """A poll that returns some of them leaves it for the next one."""
    page = fleet.other.generations.begin(TAGS)
    for _ in range(MAX_EVENTS - 1):
        await fleet.leader.invalidator.invalidate_async((b"another tag",))
    await fleet.leader.invalidator.invalidate_async(TAGS)
    await fleet.claim(990.0)
    fleet.store.fits = 300
    polls = 0
    while page.is_current:
        assert fleet.other.until == -inf
        await fleet.other.log.poll()
        polls += 1
        assert polls < 15
    assert fleet.other.until == 989.5
    assert polls > 2


async def test_progress_that_has_not_advanced_is_not_sent_again(fleet: Fleet) -> None:
    """An idle replica sends nothing."""
    await fleet.leader.publisher.publish()
    assert fleet.store.progress == []
    for until in (990.0, 990.0, 980.0):
        await fleet.claim(until)
    assert len(fleet.store.progress) == 1
    assert fleet.leader.guard.outcomes["progress", "done"] == 1


async def test_progress_that_was_refused_is_sent_again(fleet: Fleet) -> None:
    """The failure is counted."""
    fleet.store.refuses = True
    await fleet.claim(990.0)
    assert fleet.leader.guard.outcomes["progress", "refused"] == 1
    fleet.store.refuses = False
    await fleet.leader.publisher.publish()
    await fleet.other.log.poll()
    assert fleet.other.until == 989.5


async def test_nothing_is_sent_while_the_log_is_not_fresh(fleet: Fleet) -> None:
    """Redis does not answer then, and the epoch may have ended."""
    fleet.clock.now += FRESH_SECONDS
    await fleet.claim(990.0)
    assert fleet.store.progress == []
    await fleet.leader.log.poll()
    await fleet.leader.publisher.publish()
    assert len(fleet.store.progress) == 1


async def test_a_claim_stays_true_when_redis_is_lost(fleet: Fleet) -> None:
    """The pages that it speaks for are superseded for good."""
    await fleet.claim(990.0)
    await fleet.other.log.poll()
    fleet.store.flush()
    fleet.clock.now += 60.0
    assert fleet.other.until == 989.5
    await fleet.other.log.poll()
    assert fleet.other.until == 989.5


async def test_progress_of_another_epoch_is_not_noted(fleet: Fleet) -> None:
    """The next claim in the new epoch is, and replicas read from its beginning."""
    await fleet.claim(990.0)
    await fleet.other.log.poll()
    fleet.store.flush()
    await fleet.claim(991.0)
    assert fleet.store.progress == []
    for replica in (fleet.leader, fleet.other):
        await replica.log.poll()
    await fleet.claim(992.0)
    await fleet.other.log.poll()
    assert fleet.other.until == 991.5


async def test_progress_under_other_keys_is_ignored(fleet: Fleet) -> None:
    """A replica with other keys cannot say anything, and later progress still arrives."""
    stranger = Replica(fleet.store, fleet.clock, TokenKey("two", bytes(32)))
    await stranger.log.poll()
    stranger.progress.claim(TABLE, 999.0)
    await stranger.publisher.publish()
    await fleet.claim(990.0)
    assert len(fleet.store.progress) == 2
    await fleet.other.log.poll()
    assert fleet.other.until == 989.5
    assert fleet.other.log.fresh


async def test_a_replica_that_missed_values_gets_the_latest(fleet: Fleet) -> None:
    """Only some of them are kept."""
    for number in range(MAX_PROGRESS + 20):
        await fleet.claim(900.0 + number)
    await fleet.other.log.poll()
    assert fleet.other.until == 900.0 + MAX_PROGRESS + 19 - 0.5


@warped
async def test_progress_is_published_twice_a_second() -> None:
    """However often it advances."""
    fleet = Fleet()
    await fleet.leader.log.poll()
    task = asyncio.create_task(fleet.leader.publisher.run())
    for number in range(100):
        fleet.leader.progress.claim(TABLE, 900.0 + number / 10)
        await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.wait((task,))
    assert 19 <= len(fleet.store.progress) <= 21
