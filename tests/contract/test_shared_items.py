"""The contract of the shared cache's store of items, for Redis and for the stand-in in memory."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator, Sequence
from random import Random
from typing import Final

import pytest

from dynamodb_processor_server.cache.redis.item_port import (
    ItemName,
    ItemsRequest,
    ItemsResult,
    ItemToStore,
    RefreshedItem,
    SharedItem,
    SharedWrite,
)
from dynamodb_processor_server.cache.redis.port import EpochChanged, LookupRequest
from dynamodb_processor_server.cache.redis.store import RedisStore
from tests.support.redis_server import RedisServer
from tests.support.shared_cache import MemorySharedCache

_prefixes = itertools.count()
_READ: Final = 1_700_000_000.25  # when items were read, in seconds since the epoch
_LONG: Final = 10**39  # the order of the longest sequence numbers


class ItemsUnderTest:
    """A store of items, and the most frequent operations on it."""

    def __init__(self, store: RedisStore | MemorySharedCache, epoch: bytes) -> None:
        self.store = store
        self.epoch = epoch
        self.events = 0

    async def look_up(self, *items: ItemName, quarantine: float = 0.0) -> ItemsResult:
        """Look items up."""
        return await self.store.items.lookup(ItemsRequest(self.epoch, items, quarantine, 60.0))

    async def find(self, *items: ItemName) -> list[bytes | None]:
        """Return the values of items."""
        return [item.value for item in (await self.look_up(*items)).items]

    async def read(self, *items: ItemName, value: bytes = b"read", until: float = _READ) -> None:
        """Store items as they are after a lookup and a read."""
        found = (await self.look_up(*items)).items
        await self.put(items, found, value, until)

    async def put(
        self,
        items: Sequence[ItemName],
        found: Sequence[SharedItem],
        value: bytes,
        until: float = _READ,
        lifetime: float = 60.0,
    ) -> None:
        """Store items under the generations of a lookup."""
        stored = [
            ItemToStore(item, shared.generations, value, until, lifetime)
            for item, shared in zip(items, found, strict=True)
        ]
        await self.store.items.store(self.epoch, stored)

    async def write(
        self, *items: ItemName, sequence: int, value: bytes = b"new", after: float = _READ + 1.0
    ) -> None:
        """Apply a write to an item in some shapes."""
        await self.apply(made_write(*items, sequence=sequence, value=value, after=after))

    async def apply(self, *writes: SharedWrite) -> None:
        """Apply writes."""
        await self.store.items.apply(self.epoch, writes, b"event")


def made_write(
    *items: ItemName,
    sequence: int,
    value: bytes = b"new",
    after: float = _READ + 1.0,
    others: Sequence[bytes] = (),
) -> SharedWrite:
    """Return a write to an item in some shapes, which was made `after` a time."""
    refreshed = [RefreshedItem(item.name, value, 60.0) for item in items]
    return SharedWrite(items[0].tags, others, sequence, after, refreshed)


def named(name: str, partition: str = "p", shape: str = "whole") -> ItemName:
    """Return the name of an item of the only table."""
    item = f"item-{name}".encode()
    return ItemName(item + shape.encode(), (b"table", partition.encode(), item))


ONE, TWO, FAR = named("1"), named("2"), named("3", "q")
ONE_KEY = named("1", shape="key")


@pytest.fixture(params=["memory", "redis"])
async def items(request: pytest.FixtureRequest) -> AsyncIterator[ItemsUnderTest]:
    """Each implementation, in its first epoch."""
    store: RedisStore | MemorySharedCache
    if request.param == "memory":
        store = MemorySharedCache(time.monotonic, Random(1))
    else:
        server: RedisServer = request.getfixturevalue("redis_server")
        store = RedisStore(server.url, 1.0, f"items-{next(_prefixes)}:", 10.0)
    yield ItemsUnderTest(store, (await store.poll(b"", 0, 1)).epoch)
    await store.close()


async def test_many_items_are_found_in_one_lookup(items: ItemsUnderTest) -> None:
    """A lookup answers for each item by itself, in order."""
    await items.read(ONE, FAR)
    assert await items.find(FAR, TWO, ONE) == [b"read", None, b"read"]


async def test_each_tag_ends_its_items(items: ItemsUnderTest) -> None:
    """The table has all items, a partition its own ones, and an item's tag only that item."""
    for tag, left in ((b"item-1", [TWO, FAR]), (b"p", [FAR]), (b"table", [])):
        await items.read(ONE, TWO, FAR)
        await items.store.invalidate([tag], b"")
        found = await items.find(ONE, TWO, FAR)
        assert [item for item, value in zip((ONE, TWO, FAR), found, strict=True) if value] == left


async def test_an_item_whose_tag_was_invalidated_meanwhile_is_not_stored(
    items: ItemsUnderTest,
) -> None:
    """Its read may have begun before the write; another item of the same command is stored."""
    found = (await items.look_up(ONE, FAR)).items
    await items.store.invalidate([b"item-1"], b"")
    await items.put((ONE, FAR), found, b"late")
    assert await items.find(ONE, FAR) == [None, b"late"]


async def test_a_late_store_leaves_a_refreshed_item(items: ItemsUnderTest) -> None:
    """What was read before a write takes no place in the store."""
    await items.read(ONE)
    found = (await items.look_up(ONE)).items
    await items.write(ONE, sequence=5)
    await items.put((ONE,), found, b"late")
    assert await items.find(ONE) == [b"new"]


async def test_an_earlier_read_does_not_replace_a_later_one(items: ItemsUnderTest) -> None:
    """Two replicas may read at once; an equal time replaces."""
    found = (await items.look_up(ONE)).items
    for value, until in ((b"first", _READ), (b"later", _READ + 1), (b"earlier", _READ + 0.5)):
        await items.put((ONE,), found, value, until)
    assert await items.find(ONE) == [b"later"]
    await items.put((ONE,), found, b"as late", _READ + 1)
    assert await items.find(ONE) == [b"as late"]


async def test_a_read_replaces_an_item_of_a_record(items: ItemsUnderTest) -> None:
    """It was read under the generation that the record made, so it shows the write."""
    await items.read(ONE)
    await items.write(ONE, sequence=5)
    await items.read(ONE, value=b"read again")
    assert await items.find(ONE) == [b"read again"]


async def test_items_end_with_their_lifetime(items: ItemsUnderTest) -> None:
    """Lookups do not extend it."""
    found = (await items.look_up(ONE, TWO)).items
    await items.put((ONE,), found[:1], b"short", lifetime=0.001)
    await items.put((TWO,), found[1:], b"long")
    time.sleep(0.005)  # noqa: ASYNC251 - Redis has its own clock
    assert await items.find(ONE, TWO) == [None, b"long"]


async def test_a_write_refreshes_an_item_that_is_stored(items: ItemsUnderTest) -> None:
    """Every shape that is stored becomes the new item; other items of the partition stay."""
    await items.read(ONE, ONE_KEY, TWO)
    before = (await items.look_up(ONE)).items[0]
    await items.write(ONE, ONE_KEY, sequence=5)
    assert await items.find(ONE, ONE_KEY, TWO) == [b"new", b"new", b"read"]
    after = (await items.look_up(ONE)).items[0]
    assert after.generations != before.generations


async def test_a_write_ends_shapes_that_it_does_not_refresh(items: ItemsUnderTest) -> None:
    """The consumer of the stream may not know them."""
    await items.read(ONE, ONE_KEY)
    await items.write(ONE, sequence=5)
    assert await items.find(ONE, ONE_KEY) == [b"new", None]


async def test_a_write_stores_nothing_where_nothing_was_stored(items: ItemsUnderTest) -> None:
    """A record that is replayed after an eviction would bring back an old item."""
    await items.look_up(ONE)
    await items.write(ONE, sequence=5)
    assert await items.find(ONE) == [None]


async def test_a_read_under_way_is_not_stored_after_a_write(items: ItemsUnderTest) -> None:
    """The write gives the item's tag a new generation even where there is nothing to refresh."""
    found = (await items.look_up(ONE)).items
    await items.write(ONE, sequence=5)
    await items.put((ONE,), found, b"old")
    assert await items.find(ONE) == [None]


@pytest.mark.parametrize("sequence", [7, 10**20 + 7, _LONG + 7])
async def test_an_older_record_never_replaces_a_newer_one(
    items: ItemsUnderTest, sequence: int
) -> None:
    """Sequence numbers decide, as numbers; an older or equal one leaves the item as it is."""
    await items.read(ONE)
    await items.write(ONE, sequence=sequence, value=b"newer")
    for replayed in (sequence, sequence - 1, 5):
        await items.write(ONE, sequence=replayed, value=b"older")
        assert await items.find(ONE) == [b"newer"]
    await items.write(ONE, sequence=sequence + 4, value=b"newest")  # may have one digit more
    assert await items.find(ONE) == [b"newest"]


async def test_a_known_write_leaves_other_shapes_as_they_are(items: ItemsUnderTest) -> None:
    """They were read after it, or are of it themselves."""
    await items.read(ONE)
    await items.write(ONE, sequence=7)
    await items.read(ONE_KEY)
    await items.write(ONE, ONE_KEY, sequence=7)
    await items.write(ONE_KEY, ONE, sequence=6)
    assert await items.find(ONE, ONE_KEY) == [b"new", b"read"]


async def test_a_record_from_before_a_read_replaces_nothing(items: ItemsUnderTest) -> None:
    """The read may show a later write already: the item ends, and is read again."""
    for after in (_READ - 1.0, _READ):
        await items.read(ONE)
        await items.write(ONE, sequence=5, after=after)
        assert await items.find(ONE) == [None]
    await items.read(ONE)
    await items.write(ONE, sequence=5, after=_READ + 0.001)
    assert await items.find(ONE) == [b"new"]


@pytest.mark.parametrize("tag", [b"table", b"p", b"item-1"])
async def test_an_invalidated_item_is_not_refreshed(items: ItemsUnderTest, tag: bytes) -> None:
    """The record may be older than the invalidation, whose caller must not see its item."""
    await items.read(ONE)
    await items.store.invalidate([tag], b"")
    await items.write(ONE, sequence=5)
    assert await items.find(ONE) == [None]


async def test_writes_are_applied_in_order(items: ItemsUnderTest) -> None:
    """Several records of one item may come at once, among those of others."""
    await items.read(ONE, TWO)
    await items.apply(
        made_write(ONE, sequence=5, value=b"v5"),
        made_write(TWO, sequence=6, value=b"v6"),
        made_write(ONE, sequence=7, value=b"v7"),
        made_write(FAR, sequence=8, value=b"v8"),
    )
    assert await items.find(ONE, TWO, FAR) == [b"v7", b"v6", None]


async def test_a_write_ends_the_items_of_other_names(items: ItemsUnderTest) -> None:
    """Replicas between two steps of a key rotation name tags differently."""
    other = ItemName(b"other", (b"table", b"p", b"other-1"))
    await items.read(ONE, other)
    await items.apply(made_write(ONE, sequence=5, others=[b"other-1"]))
    assert await items.find(ONE, other) == [b"new", None]


async def test_writes_append_one_event(items: ItemsUnderTest) -> None:
    """Other replicas drop their own items by it; a known write appends one as well."""
    began = (await items.store.poll(items.epoch, 0, 1)).sequence
    await items.apply(made_write(ONE, sequence=5), made_write(TWO, sequence=6))
    await items.write(ONE, sequence=5)
    polled = await items.store.poll(items.epoch, began, 9)
    assert list(polled.events) == [(began + 1, b"event"), (began + 2, b"event")]
    assert (await items.look_up(ONE)).sequence == began + 2


async def test_a_write_puts_the_item_in_quarantine(items: ItemsUnderTest) -> None:
    """Eventually consistent reads may lack it; other items are not in quarantine."""
    found = (await items.look_up(ONE, TWO, quarantine=10.0)).items
    assert [(item.past_quarantine, item.has_new_generation) for item in found] == [
        (True, True),
        (True, True),
    ]
    await items.write(ONE, sequence=5)
    one, two = (await items.look_up(ONE, TWO, quarantine=10.0)).items
    assert (one.past_quarantine, two.past_quarantine) == (False, True)


async def test_a_lookup_may_want_generations_alone(items: ItemsUnderTest) -> None:
    """REFRESH accepts no stored item, but stores one."""
    await items.read(ONE)
    request = ItemsRequest(items.epoch, [ONE], 0.0, 60.0, wants_items=False)
    (item,) = (await items.store.items.lookup(request)).items
    assert item.value is None
    assert item.generations == (await items.look_up(ONE)).items[0].generations


async def test_a_lookup_without_a_read_makes_no_generation(items: ItemsUnderTest) -> None:
    """ONLY_IF_CACHED finds items, and leaves nothing behind."""
    glance = ItemsRequest(items.epoch, [ONE], 0.0, 0.0)
    first = await items.store.items.lookup(glance)
    assert (await items.store.items.lookup(glance)).items == first.items
    await items.read(ONE)
    assert (await items.store.items.lookup(glance)).items[0].value == b"read"


async def test_no_item_is_left_in_the_next_epoch(items: ItemsUnderTest) -> None:
    """A lookup in the earlier epoch raises EpochChanged, and its items are never found."""
    await items.read(ONE)
    found = (await items.look_up(ONE)).items
    await items.store.renew(items.epoch)
    with pytest.raises(EpochChanged):
        await items.look_up(ONE)
    await items.put((ONE,), found, b"late")
    earlier, items.epoch = items.epoch, (await items.store.poll(b"", 0, 1)).epoch
    assert await items.find(ONE) == [None]
    await items.read(ONE)
    await items.store.items.apply(earlier, [made_write(ONE, sequence=5)], b"event")
    assert await items.find(ONE) == [None], "a writer of another epoch ends the item all the same"


async def test_pages_and_items_share_their_generations(items: ItemsUnderTest) -> None:
    """A write to an item ends the pages that have its tag."""
    request = LookupRequest(items.epoch, b"page", (b"item-1",), 0.0, 60.0)
    found = await items.store.lookup(request)
    await items.store.store(request, found.generations, b"page", 60.0)
    assert (await items.store.lookup(request)).page == b"page"
    await items.write(ONE, sequence=5)
    assert (await items.store.lookup(request)).page is None
