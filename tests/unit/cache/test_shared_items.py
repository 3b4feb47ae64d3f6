"""The shared item cache of two replicas: items, writes, and what happens without Redis."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from math import inf

import pytest

from dynamodb_processor_server.cache.redis.encryption import PageCipher
from dynamodb_processor_server.errors import BackendUnavailable
from dynamodb_processor_server.runtime.guarded_store import StoreError
from tests.support.shared_cache import YOUNG
from tests.support.warped_time import warped
from tests.unit.cache.item_replicas import (
    CIPHER,
    KEYS,
    TIMEOUT,
    TTL,
    item,
    made_lookup,
    replicas,
    tags,
    write,
)


@warped
async def test_an_item_that_one_replica_read_is_found_by_the_other() -> None:
    """Nothing of it is changed; absence is an item too."""
    async with replicas() as (_, items, (first, second)):
        found = await first.find("1", "2", "3")
        assert found.items == {}
        one = item(b"message", source=b"stored")
        first.items.store(found.fill, {0: one, 2: item(None)})
        await asyncio.sleep(0.01)
        found = await second.find("1", "2", "3")
        assert found.items == {0: one, 2: item(None, read_at=one.content.read_at)}
        assert items.lookups == [3, 3]
        assert first.outcomes["store_items", "done"] == 1
        assert second.outcomes["look_up_items", "hit"] == 2
        assert second.outcomes["look_up_items", "miss"] == 1


@warped
async def test_a_hundred_items_take_one_round_trip() -> None:
    """More of them take one for each hundred, and keep their places."""
    names = [str(number) for number in range(250)]
    async with replicas(1) as (_, items, (only,)):
        await only.read(*names[:100])
        assert items.lookups == [100]
        found = await only.find(*names)
        assert items.lookups == [100, 100, 100, 50]
        assert sorted(found.items) == list(range(100))
        only.items.store(found.fill, {240: item(b"last")})
        await asyncio.sleep(0.01)
        assert await only.messages("240", "241") == [b"last", None]


@warped
async def test_older_and_expired_items_do_not_count() -> None:
    """A caller may want younger ones; REFRESH wants none."""
    async with replicas(1) as (_, _, (only,)):
        await only.read("1")
        now = asyncio.get_running_loop().time()
        assert await only.messages("1", oldest=now) == [b"read"]
        assert await only.messages("1", oldest=now + 0.1) == [None]
        assert await only.messages("1", oldest=inf) == [None]
        await asyncio.sleep(TTL)
        await only.poll()
        assert await only.messages("1") == [None]


@warped
async def test_nothing_is_found_while_invalidations_may_be_missing() -> None:
    """The log has not been read lately."""
    async with replicas(1) as (_, items, (only,)):
        await only.read("1")
        await asyncio.sleep(1.0)
        assert await only.items.find(made_lookup("1")) is None
        assert only.outcomes["look_up_items", "not_fresh"] == 1
        assert items.lookups == [1]


@pytest.mark.parametrize(("error", "takes"), [(StoreError("refused"), 0.0), (None, 1.0)])
@warped
async def test_without_redis_no_call_fails_or_waits(error: StoreError | None, takes: float) -> None:
    """A lookup finds nothing, a store is given up, and a write is not acknowledged."""
    async with replicas(1) as (_, items, (only,)):
        found = await only.find("1")
        items.error, items.takes = error, takes
        began = asyncio.get_running_loop().time()
        assert await only.items.find(made_lookup("1")) is None
        only.items.store(found.fill, {0: item(b"read")})
        assert asyncio.get_running_loop().time() - began <= TIMEOUT + 0.01
        with pytest.raises(BackendUnavailable):
            await only.items.apply_writes([write("1", 5, b"new")])
        kind = "refused" if error else "timeout"
        await asyncio.sleep(TIMEOUT)
        for operation in ("look_up_items", "store_items", "apply_writes"):
            assert only.outcomes[operation, kind] == 1
        items.error, items.takes = None, 0.0
        await only.poll()
        assert await only.messages("1") == [None]


@warped
async def test_another_epoch_is_noticed_by_a_lookup() -> None:
    """The replica is not up to date until its next poll."""
    async with replicas(1) as (store, _, (only,)):
        await only.read("1")
        store.flush()
        assert await only.items.find(made_lookup("1")) is None
        assert only.outcomes["look_up_items", "epoch_over"] == 1
        assert not only.pages.may_serve_local
        await only.poll()
        assert await only.messages("1") == [None]


@warped
async def test_an_item_that_cannot_be_decrypted_counts_as_missing() -> None:
    """A writer to Redis may have put the value of another item there."""
    async with replicas(1) as (_, items, (only,)):
        await only.read("1", "2")
        one, two = (CIPHER.item_name(name) for name in (b"1", b"2"))
        items.swap(one, two)
        assert await only.messages("1", "2") == [None, None]
        assert only.outcomes["look_up_items", "garbage"] == 2


@warped
async def test_in_quarantine_only_consistent_reads_are_stored() -> None:
    """Another replica may not have received the write yet when it looks the item up."""
    async with replicas() as (_, _, (first, second)):
        await first.find("1", "2")
        await asyncio.sleep(YOUNG)
        for each in (first, second):
            await each.poll()
        await first.items.apply_writes([write("1", 5, b"new"), write("2", 6, b"new")])
        found = await second.find("1", "2")
        stored = {at: item(b"read") for at in (0, 1)}
        second.items.store(found.fill, stored, consistent=[1])
        await asyncio.sleep(0.01)
        assert await first.messages("1", "2") == [None, b"read"]


@warped
async def test_a_new_generation_needs_every_invalidation_before_it() -> None:
    """Redis may have lost an earlier one of the tag, which only the log still has."""
    async with replicas() as (store, _, (first, second)):
        await first.items.apply_writes([write("1", 5, b"new")])
        store.evict_generations()
        found = await second.find("1")
        second.items.store(found.fill, {0: item(b"before the write")})
        await asyncio.sleep(0.01)
        assert await first.messages("1") == [None]
        await second.poll()
        found = await second.find("1")
        second.items.store(found.fill, {0: item(b"after the write")})
        await asyncio.sleep(0.01)
        assert await first.messages("1") == [b"after the write"]
        await asyncio.sleep(YOUNG)


@warped
async def test_large_and_expired_items_are_not_stored() -> None:
    """A lookup of a hundred items must stay small."""
    async with replicas(1) as (_, _, (only,)):
        found = await only.find("1", "2", "3")
        at_most = 32 * 1024
        large = item(b"m" * (at_most - 1), source=b"s" * 2)
        fits = item(b"m" * (at_most - 1), source=b"s")
        only.items.store(found.fill, {0: large, 1: fits, 2: replace(fits, expires=0.0)})
        await asyncio.sleep(0.01)
        assert [bool(each) for each in await only.messages("1", "2", "3")] == [False, True, False]


@warped
async def test_a_write_refreshes_the_item_for_every_replica() -> None:
    """The others drop their own item when they receive the write; this one has changed it."""
    async with replicas() as (_, _, (first, second)):
        await first.read("1", "2")
        for each in (first, second):
            await each.poll()
        before = [second.generations.begin(tags(name)) for name in ("1", "2")]
        await first.items.apply_writes([write("1", 5, b"new")])
        refreshed = first.generations.begin(tags("1"))
        for each in (first, second):
            await each.poll()
        assert [each.is_current for each in before] == [False, True]
        assert refreshed.is_current
        assert await second.messages("1", "2") == [b"new", b"read"]
        (shared,) = (await second.find("1")).items.values()
        assert shared.content.sequence == 5


@warped
async def test_a_write_that_a_read_may_show_replaces_nothing() -> None:
    """The item ends then, and is read again."""
    async with replicas(1) as (_, _, (only,)):
        now = asyncio.get_running_loop().time()
        await only.read("1", "2")
        await only.items.apply_writes(
            [write("1", 5, b"new", now), write("2", 6, b"new", now + 0.01)]
        )
        assert await only.messages("1", "2") == [None, b"new"]


@warped
async def test_many_writes_are_applied_in_parts() -> None:
    """A script has a hundred of them at most, and a megabyte of items; their order stays."""
    async with replicas(1) as (_, items, (only,)):
        await only.read("1")
        writes = [write(str(number % 7), 1 + number, b"%d" % number) for number in range(205)]
        await only.items.apply_writes(writes)
        assert items.writes == [100, 100, 5]
        assert await only.messages("1") == [b"204"]
        items.writes.clear()
        large = [write("1", 300 + number, b"m" * 400_000) for number in range(5)]
        await only.items.apply_writes(large)
        assert items.writes == [2, 2, 1]
        await only.items.apply_writes([])
        assert items.writes == [2, 2, 1]


@warped
async def test_a_write_reaches_replicas_with_another_first_key() -> None:
    """In a key rotation replicas name items and tags differently for a while."""
    ciphers = (PageCipher(KEYS), PageCipher(KEYS[::-1]))
    async with replicas(ciphers=ciphers) as (_, _, (first, second)):
        await first.read("1")
        await second.read("1")
        await first.items.apply_writes([write("1", 5, b"new")])
        for each in (first, second):
            await each.poll()
        assert await first.messages("1") == [b"new"]
        assert await second.messages("1") == [None]
