"""The shared tier's port: the same promises in memory and on Redis."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import replace
from random import Random

import pytest
from redis import Redis

from dynamodb_processor_server.cache.redis.port import (
    MOST_EVENTS,
    EpochChanged,
    LookupRequest,
    LookupResult,
    SharedCacheStore,
)
from dynamodb_processor_server.cache.redis.store import RedisStore
from tests.support.redis_server import RedisServer
from tests.support.shared_tier import MemoryTier

_prefixes = itertools.count()


class Tier:
    """A store, time that passes for it, and what is asked most."""

    store: SharedCacheStore

    def __init__(self) -> None:
        self.now = 1_000.0
        self.epoch = b""

    async def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        if isinstance(self.store, RedisStore):
            await asyncio.sleep(seconds)

    def ask(self, *tags: bytes, lease: bytes | None = None, settling: float = 0.0) -> LookupRequest:
        """Return a question about the one page."""
        return LookupRequest(self.epoch, b"page", tags, settling, 60.0, lease)

    async def lookup(self, *tags: bytes, settling: float = 0.0) -> LookupResult:
        """Look the page up."""
        return await self.store.lookup(self.ask(*tags, settling=settling))


@pytest.fixture(params=["memory", "redis"])
async def tier(request: pytest.FixtureRequest) -> AsyncIterator[Tier]:
    """Each implementation, in its first epoch."""
    opened = Tier()
    if request.param == "memory":
        opened.store = MemoryTier(lambda: opened.now, Random(1))
    else:
        server: RedisServer = request.getfixturevalue("redis_server")
        opened.store = RedisStore(server.url, 1.0, f"contract-{next(_prefixes)}:", 10.0)
    opened.epoch = (await opened.store.poll(b"", 0, 1)).epoch
    yield opened
    await opened.store.close()


async def test_a_page_is_found_under_the_generations_it_was_stored_under(tier: Tier) -> None:
    """By whoever asks, until one of its tags moves; other tags do not matter."""
    first = await tier.lookup(b"a", b"b")
    assert first.page is None
    await tier.store.store(tier.ask(b"a", b"b"), first.generations, b"value", 60.0)
    found = await tier.lookup(b"a", b"b")
    assert (found.page, found.generations) == (b"value", first.generations)
    await tier.store.invalidate([b"c"], b"")
    assert (await tier.lookup(b"a", b"b")).page == b"value"
    await tier.store.invalidate([b"b"], b"")
    found = await tier.lookup(b"a", b"b")
    assert found.page is None
    assert found.generations[0] == first.generations[0]
    assert found.generations[1] != first.generations[1]


async def test_a_page_stored_late_is_not_found(tier: Tier) -> None:
    """Its generations were over when it came."""
    first = await tier.lookup(b"a")
    await tier.store.invalidate([b"a"], b"")
    await tier.store.store(tier.ask(b"a"), first.generations, b"value", 60.0)
    assert (await tier.lookup(b"a")).page is None


async def test_a_page_ends_with_its_lifetime(tier: Tier) -> None:
    """However often it was looked up."""
    first = await tier.lookup(b"a")
    await tier.store.store(tier.ask(b"a"), first.generations, b"value", 0.05)
    assert (await tier.lookup(b"a")).page == b"value"
    await tier.wait(0.1)
    assert (await tier.lookup(b"a")).page is None


async def test_moves_settle(tier: Tier) -> None:
    """A tag that was never moved is settled and young, a moved one is not settled for a while."""
    found = await tier.lookup(b"a", settling=0.2)
    assert (found.past_quarantine, found.young) == (True, True)
    await tier.store.invalidate([b"a"], b"")
    found = await tier.lookup(b"a", settling=0.2)
    assert (found.past_quarantine, found.young) == (False, False)
    await tier.wait(0.3)
    assert (await tier.lookup(b"a", settling=0.2)).past_quarantine


async def test_one_of_many_gets_the_lease(tier: Tier) -> None:
    """Until it stores the page or gives the lease up; another's release does nothing."""
    first, second = tier.ask(b"a", lease=b"1"), tier.ask(b"a", lease=b"2")
    found = await tier.store.lookup(first)
    assert (found.leased, found.taken) == (True, False)
    again = await tier.store.lookup(first)  # as when the answer was lost
    assert (again.leased, again.taken) == (True, False)
    other = await tier.store.lookup(second)
    assert (other.leased, other.taken) == (False, True)
    await tier.store.release(second, found.generations)
    assert (await tier.store.lookup(second)).taken
    await tier.store.release(first, found.generations)
    assert (await tier.store.lookup(second)).leased
    await tier.store.store(second, found.generations, b"value", 60.0)
    assert (await tier.store.lookup(first)).page == b"value"
    third = await tier.store.lookup(replace(first, page=b"other"))
    assert third.leased


async def test_a_lease_ends_by_itself(tier: Tier) -> None:
    """Who holds it may have died."""
    assert (await tier.store.lookup(tier.ask(b"a", lease=b"1"))).leased
    await tier.wait(1.05)
    assert (await tier.store.lookup(tier.ask(b"a", lease=b"2"))).leased


async def test_nobody_waits_for_what_is_not_going_to_be_stored(tier: Tier) -> None:
    """While a tag has not settled, everybody reads; after a move there is another lease."""
    assert (await tier.store.lookup(tier.ask(b"a", lease=b"1"))).leased
    await tier.store.invalidate([b"a"], b"")
    found = await tier.store.lookup(tier.ask(b"a", lease=b"2", settling=60.0))
    assert (found.leased, found.taken) == (False, False)
    assert (await tier.store.lookup(tier.ask(b"a", lease=b"2"))).leased


async def test_generations_may_be_asked_for_alone(tier: Tier) -> None:
    """By who does not want the page."""
    first = await tier.lookup(b"a")
    await tier.store.store(tier.ask(b"a"), first.generations, b"value", 60.0)
    found = await tier.store.lookup(replace(tier.ask(b"a"), wanted=False))
    assert (found.page, found.generations) == (None, first.generations)


async def test_who_does_not_read_makes_no_generation(tier: Tier) -> None:
    """But finds what is there."""
    glance = replace(tier.ask(b"a"), lifetime=0.0)
    found = await tier.store.lookup(glance)
    assert (found.page, found.generations) == (None, (b"",))
    first = await tier.lookup(b"a")
    await tier.store.store(tier.ask(b"a"), first.generations, b"value", 60.0)
    found = await tier.store.lookup(glance)
    assert (found.page, found.generations) == (b"value", first.generations)


async def test_the_stream_tells_what_was_invalidated(tier: Tier) -> None:
    """In order, numbered without gaps, from any number on, and no more than are wanted."""
    began = (await tier.store.poll(tier.epoch, 0, 9)).sequence
    for number in range(3):
        await tier.store.invalidate([b"a"], b"event %d" % number)
    polled = await tier.store.poll(tier.epoch, began, 9)
    assert polled.sequence == began + 3
    assert list(polled.events) == [(began + 1 + n, b"event %d" % n) for n in range(3)]
    first = await tier.store.poll(tier.epoch, began, 1)
    assert (first.sequence, list(first.events)) == (began + 3, [(began + 1, b"event 0")])
    later = await tier.store.poll(tier.epoch, began + 2, 9)
    assert list(later.events) == [(began + 3, b"event 2")]
    assert not (await tier.store.poll(tier.epoch, began + 3, 9)).events
    assert (await tier.lookup(b"a")).sequence == began + 3


async def test_too_many_events_are_not_told(tier: Tier) -> None:
    """So that an answer is the smaller the more it says; the latest ones are all still there."""
    began = (await tier.store.poll(tier.epoch, 0, 1)).sequence
    for _ in range(MOST_EVENTS + 300):
        await tier.store.invalidate([], b"e")
    latest = began + MOST_EVENTS + 300
    polled = await tier.store.poll(tier.epoch, latest - MOST_EVENTS - 1, MOST_EVENTS)
    assert (polled.sequence, list(polled.events)) == (latest, [])
    polled = await tier.store.poll(tier.epoch, latest - MOST_EVENTS, MOST_EVENTS)
    assert (polled.sequence, len(polled.events)) == (latest, MOST_EVENTS)


async def test_nothing_of_an_epoch_is_left_in_the_next(tier: Tier) -> None:
    """Neither pages nor generations nor events; whoever asks for the earlier one is told so."""
    first = await tier.lookup(b"a")
    await tier.store.store(tier.ask(b"a"), first.generations, b"value", 60.0)
    await tier.store.invalidate([], b"event")
    earlier = tier.epoch
    await tier.store.renew(earlier)
    await tier.store.renew(earlier)  # it is over: another replica was first
    with pytest.raises(EpochChanged):
        await tier.lookup(b"a")
    polled = await tier.store.poll(earlier, 1, 9)
    assert polled.epoch != earlier
    assert not polled.events
    assert (await tier.store.poll(polled.epoch, polled.sequence, 9)).epoch == polled.epoch
    tier.epoch = polled.epoch
    found = await tier.lookup(b"a")
    assert found.page is None
    assert found.generations != first.generations


async def test_another_run_of_the_server_begins_another_epoch(redis_server: RedisServer) -> None:
    """Although it has all that the earlier one had, as a replica that took its place has."""
    prefix = f"contract-{next(_prefixes)}:"
    store = RedisStore(redis_server.url, 1.0, prefix, 10.0)
    epoch = (await store.poll(b"", 0, 9)).epoch
    asked = LookupRequest(epoch, b"page", (b"a",), 0.0, 60.0)
    first = await store.lookup(asked)
    await store.store(asked, first.generations, b"value", 60.0)
    earlier = epoch[:32] + b"0" * len(epoch[32:])
    with Redis.from_url(redis_server.url) as client:
        ((entry, fields),) = client.xrange(f"{prefix}invalidations")
        client.delete(f"{prefix}invalidations")
        client.xadd(f"{prefix}invalidations", {**fields, b"epoch": earlier}, id=entry)
        client.set(f"{prefix}epoch", earlier)
    polled = await store.poll(epoch, 1, 9)
    assert polled.epoch[:32] != epoch[:32]
    assert (await store.lookup(replace(asked, epoch=polled.epoch))).page is None
    await store.close()
