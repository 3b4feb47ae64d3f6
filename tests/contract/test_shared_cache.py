"""The contract of the shared cache's store, for Redis and for the tests' stand-in in memory."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import replace
from random import Random

import pytest
from redis import Redis

from dynamodb_processor_server.cache.redis.port import (
    FIRST_PROGRESS,
    MAX_EVENTS,
    MAX_PROGRESS,
    EpochChanged,
    LookupRequest,
    LookupResult,
    SharedCacheStore,
)
from dynamodb_processor_server.cache.redis.store import RedisStore
from tests.support.redis_server import RedisServer
from tests.support.shared_cache import MemorySharedCache

_prefixes = itertools.count()


class StoreUnderTest:
    """A store, its clock, and the most frequent lookups."""

    store: SharedCacheStore

    def __init__(self) -> None:
        self.now = 1_000.0
        self.epoch = b""

    async def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        if isinstance(self.store, RedisStore):
            await asyncio.sleep(seconds)

    def request(
        self, *tags: bytes, lease: bytes | None = None, quarantine: float = 0.0
    ) -> LookupRequest:
        """Return a lookup request for the page."""
        return LookupRequest(self.epoch, b"page", tags, quarantine, 60.0, lease)

    async def lookup(self, *tags: bytes, quarantine: float = 0.0) -> LookupResult:
        """Look the page up."""
        return await self.store.lookup(self.request(*tags, quarantine=quarantine))


@pytest.fixture(params=["memory", "redis"])
async def shared(request: pytest.FixtureRequest) -> AsyncIterator[StoreUnderTest]:
    """Each implementation, in its first epoch."""
    opened = StoreUnderTest()
    if request.param == "memory":
        opened.store = MemorySharedCache(lambda: opened.now, Random(1))
    else:
        server: RedisServer = request.getfixturevalue("redis_server")
        opened.store = RedisStore(server.url, 1.0, f"contract-{next(_prefixes)}:", 10.0)
    opened.epoch = (await opened.store.poll(b"", 0, 1)).epoch
    yield opened
    await opened.store.close()


async def test_a_page_is_found_under_the_generations_of_its_store(
    shared: StoreUnderTest,
) -> None:
    """Any replica finds it until one of its tags is invalidated; other tags do not matter."""
    first = await shared.lookup(b"a", b"b")
    assert first.page is None
    await shared.store.store(shared.request(b"a", b"b"), first.generations, b"value", 60.0)
    found = await shared.lookup(b"a", b"b")
    assert (found.page, found.generations) == (b"value", first.generations)
    await shared.store.invalidate([b"c"], b"")
    assert (await shared.lookup(b"a", b"b")).page == b"value"
    await shared.store.invalidate([b"b"], b"")
    found = await shared.lookup(b"a", b"b")
    assert found.page is None
    assert found.generations[0] == first.generations[0]
    assert found.generations[1] != first.generations[1]


async def test_a_page_stored_late_is_not_found(shared: StoreUnderTest) -> None:
    """Its generations were superseded before the store."""
    first = await shared.lookup(b"a")
    await shared.store.invalidate([b"a"], b"")
    await shared.store.store(shared.request(b"a"), first.generations, b"value", 60.0)
    assert (await shared.lookup(b"a")).page is None


async def test_a_page_ends_with_its_lifetime(shared: StoreUnderTest) -> None:
    """Lookups do not extend it."""
    first = await shared.lookup(b"a")
    await shared.store.store(shared.request(b"a"), first.generations, b"value", 0.05)
    assert (await shared.lookup(b"a")).page == b"value"
    await shared.wait(0.1)
    assert (await shared.lookup(b"a")).page is None


async def test_tags_are_past_quarantine_some_time_after_an_invalidation(
    shared: StoreUnderTest,
) -> None:
    """A tag that was never invalidated is past quarantine, and its generation is new."""
    found = await shared.lookup(b"a", quarantine=0.2)
    assert (found.past_quarantine, found.has_new_generation) == (True, True)
    await shared.store.invalidate([b"a"], b"")
    found = await shared.lookup(b"a", quarantine=0.2)
    assert (found.past_quarantine, found.has_new_generation) == (False, False)
    await shared.wait(0.3)
    assert (await shared.lookup(b"a", quarantine=0.2)).past_quarantine


async def test_one_of_many_gets_the_lease(shared: StoreUnderTest) -> None:
    """It keeps the lease until it stores or releases it; another's release does nothing."""
    first, second = shared.request(b"a", lease=b"1"), shared.request(b"a", lease=b"2")
    found = await shared.store.lookup(first)
    assert (found.leased, found.leased_by_other) == (True, False)
    again = await shared.store.lookup(first)  # the first response may have been lost
    assert (again.leased, again.leased_by_other) == (True, False)
    other = await shared.store.lookup(second)
    assert (other.leased, other.leased_by_other) == (False, True)
    await shared.store.release(second, found.generations)
    assert (await shared.store.lookup(second)).leased_by_other
    await shared.store.release(first, found.generations)
    assert (await shared.store.lookup(second)).leased
    await shared.store.store(second, found.generations, b"value", 60.0)
    assert (await shared.store.lookup(first)).page == b"value"
    third = await shared.store.lookup(replace(first, page=b"other"))
    assert third.leased


async def test_a_lease_ends_by_itself(shared: StoreUnderTest) -> None:
    """Its holder may have died."""
    assert (await shared.store.lookup(shared.request(b"a", lease=b"1"))).leased
    await shared.wait(1.05)
    assert (await shared.store.lookup(shared.request(b"a", lease=b"2"))).leased


async def test_no_lease_is_granted_during_quarantine(shared: StoreUnderTest) -> None:
    """All replicas read then; after an invalidation there is another lease."""
    assert (await shared.store.lookup(shared.request(b"a", lease=b"1"))).leased
    await shared.store.invalidate([b"a"], b"")
    found = await shared.store.lookup(shared.request(b"a", lease=b"2", quarantine=60.0))
    assert (found.leased, found.leased_by_other) == (False, False)
    assert (await shared.store.lookup(shared.request(b"a", lease=b"2"))).leased


async def test_a_lookup_may_request_generations_alone(shared: StoreUnderTest) -> None:
    """A caller may not want the page."""
    first = await shared.lookup(b"a")
    await shared.store.store(shared.request(b"a"), first.generations, b"value", 60.0)
    found = await shared.store.lookup(replace(shared.request(b"a"), wants_page=False))
    assert (found.page, found.generations) == (None, first.generations)


async def test_a_lookup_without_a_read_makes_no_generation(shared: StoreUnderTest) -> None:
    """It still finds existing generations and pages."""
    glance = replace(shared.request(b"a"), lifetime=0.0)
    found = await shared.store.lookup(glance)
    assert (found.page, found.generations) == (None, (b"",))
    first = await shared.lookup(b"a")
    await shared.store.store(shared.request(b"a"), first.generations, b"value", 60.0)
    found = await shared.store.lookup(glance)
    assert (found.page, found.generations) == (b"value", first.generations)


async def test_the_log_has_each_invalidation(shared: StoreUnderTest) -> None:
    """Events are in order, without gaps, from any number on, and no more than requested."""
    began = (await shared.store.poll(shared.epoch, 0, 9)).sequence
    for number in range(3):
        await shared.store.invalidate([b"a"], b"event %d" % number)
    polled = await shared.store.poll(shared.epoch, began, 9)
    assert polled.sequence == began + 3
    assert list(polled.events) == [(began + 1 + n, b"event %d" % n) for n in range(3)]
    first = await shared.store.poll(shared.epoch, began, 1)
    assert (first.sequence, list(first.events)) == (began + 3, [(began + 1, b"event 0")])
    later = await shared.store.poll(shared.epoch, began + 2, 9)
    assert list(later.events) == [(began + 3, b"event 2")]
    assert not (await shared.store.poll(shared.epoch, began + 3, 9)).events
    assert (await shared.lookup(b"a")).sequence == began + 3


async def test_a_poll_with_a_large_lag_returns_no_events(shared: StoreUnderTest) -> None:
    """Responses stay small; the latest events are all still there."""
    began = (await shared.store.poll(shared.epoch, 0, 1)).sequence
    for _ in range(MAX_EVENTS + 300):
        await shared.store.invalidate([], b"e")
    latest = began + MAX_EVENTS + 300
    polled = await shared.store.poll(shared.epoch, latest - MAX_EVENTS - 1, MAX_EVENTS)
    assert (polled.sequence, list(polled.events)) == (latest, [])
    polled = await shared.store.poll(shared.epoch, latest - MAX_EVENTS, MAX_EVENTS)
    assert (polled.sequence, len(polled.events)) == (latest, MAX_EVENTS)


async def test_progress_is_returned_after_a_cursor(shared: StoreUnderTest) -> None:
    """Values come in order, each with its cursor, and are no events."""
    began = await shared.store.poll(shared.epoch, 0, 9)
    assert not began.progress
    for number in range(3):
        await shared.store.note_progress(shared.epoch, b"value %d" % number)
    polled = await shared.store.poll(shared.epoch, began.sequence, 9)
    assert (polled.sequence, list(polled.events)) == (began.sequence, [])
    assert [value for _, value in polled.progress] == [b"value 0", b"value 1", b"value 2"]
    (first, _), *_, (last, _) = polled.progress
    later = await shared.store.poll(shared.epoch, began.sequence, 9, first)
    assert list(later.progress) == list(polled.progress)[1:]
    assert not (await shared.store.poll(shared.epoch, began.sequence, 9, last)).progress
    await shared.store.note_progress(shared.epoch, b"value 3")
    latest = await shared.store.poll(shared.epoch, began.sequence, 9, last)
    assert [value for _, value in latest.progress] == [b"value 3"]


async def test_the_latest_progress_is_kept(shared: StoreUnderTest) -> None:
    """A replica that missed earlier values does not need them."""
    for number in range(MAX_PROGRESS + 5):
        await shared.store.note_progress(shared.epoch, b"%d" % number)
    polled = await shared.store.poll(shared.epoch, 1, 9)
    assert [int(value) for _, value in polled.progress] == list(range(5, MAX_PROGRESS + 5))


async def test_progress_belongs_to_an_epoch(shared: StoreUnderTest) -> None:
    """None of another epoch is noted or returned."""
    await shared.store.note_progress(shared.epoch, b"value")
    earlier = shared.epoch
    await shared.store.renew(earlier)
    await shared.store.note_progress(earlier, b"late")
    assert not (await shared.store.poll(earlier, 1, 9)).progress
    current = (await shared.store.poll(earlier, 1, 9)).epoch
    assert not (await shared.store.poll(current, 1, 9, FIRST_PROGRESS)).progress


async def test_nothing_of_an_epoch_is_left_in_the_next(shared: StoreUnderTest) -> None:
    """It has no pages, generations or events; a lookup in the earlier one raises EpochChanged."""
    first = await shared.lookup(b"a")
    await shared.store.store(shared.request(b"a"), first.generations, b"value", 60.0)
    await shared.store.invalidate([], b"event")
    earlier = shared.epoch
    await shared.store.renew(earlier)
    await shared.store.renew(earlier)  # it is over: another replica was first
    with pytest.raises(EpochChanged):
        await shared.lookup(b"a")
    polled = await shared.store.poll(earlier, 1, 9)
    assert polled.epoch != earlier
    assert not polled.events
    assert (await shared.store.poll(polled.epoch, polled.sequence, 9)).epoch == polled.epoch
    shared.epoch = polled.epoch
    found = await shared.lookup(b"a")
    assert found.page is None
    assert found.generations != first.generations


async def test_another_run_of_the_server_begins_another_epoch(redis_server: RedisServer) -> None:
    """The data may be the same, as on a replica that was promoted."""
    prefix = f"contract-{next(_prefixes)}:"
    store = RedisStore(redis_server.url, 1.0, prefix, 10.0)
    epoch = (await store.poll(b"", 0, 9)).epoch
    request = LookupRequest(epoch, b"page", (b"a",), 0.0, 60.0)
    first = await store.lookup(request)
    await store.store(request, first.generations, b"value", 60.0)
    earlier = epoch[:32] + b"0" * len(epoch[32:])
    with Redis.from_url(redis_server.url) as client:
        ((entry, fields),) = client.xrange(f"{prefix}invalidations")
        client.delete(f"{prefix}invalidations")
        client.xadd(f"{prefix}invalidations", {**fields, b"epoch": earlier}, id=entry)
        client.set(f"{prefix}epoch", earlier)
    polled = await store.poll(epoch, 1, 9)
    assert polled.epoch[:32] != epoch[:32]
    assert (await store.lookup(replace(request, epoch=polled.epoch))).page is None
    await store.close()
