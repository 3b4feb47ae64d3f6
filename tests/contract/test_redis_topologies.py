"""Redis behind Sentinels, and as a cluster: the primary is found, and found again."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from dynamodb_processor_server.cache.redis.item_port import ItemName, ItemsRequest, ItemToStore
from dynamodb_processor_server.cache.redis.port import LookupRequest
from dynamodb_processor_server.cache.redis.store import RedisStore
from dynamodb_processor_server.change_streams.redis_leases import RedisLeases
from dynamodb_processor_server.cli.redis_report import report_on_redis
from dynamodb_processor_server.limits.redis.port import BucketDebit, WindowAcquire
from dynamodb_processor_server.limits.redis.store import RedisLimitStore
from dynamodb_processor_server.runtime.guarded_store import StoreError
from dynamodb_processor_server.runtime.redis import RedisClient
from tests.support.lengths import PATIENCE
from tests.support.redis_topologies import PREFIX, ClusterGroup, SentinelGroup, ask
from tests.support.running import eventually

#: The commands that docs/architecture/security.md grants.
_ALLOWED = (
    "+ping +info +time +eval +evalsha +script|load +script|exists +set +get +getrange +del +pttl "
    "+pexpire +xadd +xrange +xrevrange +hello +auth +client|setinfo +cluster|info"
)
_COUNT = "return redis.call('INCR', KEYS[1] .. ARGV[1])"


@pytest.fixture(scope="module")
def cluster(redis_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterGroup]:
    """A cluster of three primaries and a replica."""
    group = ClusterGroup(redis_binary, tmp_path_factory.mktemp("cluster"))
    try:
        group.start()
        yield group
    finally:
        group.kill()


@pytest.fixture(scope="module")
def sentinels(
    redis_binary: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SentinelGroup]:
    """A primary, a replica, and three Sentinels."""
    group = SentinelGroup(redis_binary, tmp_path_factory.mktemp("sentinels"))
    try:
        group.start()
        yield group
    finally:
        group.kill()


@dataclass(frozen=True, slots=True)
class Counter:
    """A client that counts in a key of its own."""

    client: RedisClient
    script: Any
    name: str

    async def count(self) -> int:
        """Return the next number, 0 if there is none now."""
        try:
            async with asyncio.timeout(1.0):
                primary = await self.client.primary()
                number = await self.client.run(self.script, (PREFIX,), (self.name,))
                await self.client.confirm(primary)
        except (StoreError, TimeoutError):
            return 0
        return int(number)

    async def can_count(self) -> bool:
        """Return whether there is a next number."""
        return bool(await self.count())


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Counter]:
    """Open a client, and close it at the end."""
    client = RedisClient(url, 1.0, 4, key=PREFIX)
    script = client.script(_COUNT)
    try:
        await client.connect([script])
        yield Counter(client, script, uuid.uuid4().hex)
    finally:
        await client.close()


async def _use_everything(url: str) -> None:
    """Use the shared cache of pages and items, leases and limits."""
    store = RedisStore(url, PATIENCE, PREFIX, 10.0)
    await store.connect()
    first = await store.poll(b"", 0, 10)
    request = LookupRequest(first.epoch, uuid.uuid4().hex.encode(), (b"tag",), 0.0, 60.0)
    missed = await store.lookup(request)
    await store.store(request, missed.generations, b"value", 60.0)
    assert (await store.lookup(request)).page == b"value"
    await store.invalidate((b"tag",), b"event")
    assert (await store.lookup(request)).page is None
    polled = await store.poll(first.epoch, first.sequence, 10)
    assert [event for _, event in polled.events] == [b"event"]
    item = uuid.uuid4().hex.encode()
    named = ItemName(item, (b"table", b"partition", item))
    lookup = ItemsRequest(first.epoch, (named,), 0.0, 60.0)
    (found,) = (await store.items.lookup(lookup)).items
    stored = ItemToStore(named, found.generations, b"item", 1_700_000_000.0, 60.0)
    await store.items.store(first.epoch, [stored])
    assert [each.value for each in (await store.items.lookup(lookup)).items] == [b"item"]
    await store.close()
    leases = RedisLeases(url, PATIENCE, PREFIX)
    assert await leases.acquire(uuid.uuid4().hex, "me", 1.0) is not None
    await leases.close()
    limits = RedisLimitStore(url, PATIENCE, PREFIX)
    name = uuid.uuid4().hex
    windows = [WindowAcquire((name, name, table), 1, 60) for table in ("a", "{b}", "a")]
    assert [wait is None for wait in await limits.acquire_windows(windows)] == [True, True, False]
    debits = [BucketDebit((name, name, table), 10.0, 4.0) for table in ("a", "{b}")]
    assert await limits.debit_buckets(debits) == [6.0, 6.0]
    await limits.close()


async def test_a_cluster_has_everything_in_one_slot(cluster: ClusterGroup) -> None:
    """Pages, items, leases and limits work whichever nodes the URL names."""
    for server in cluster.servers[:2]:
        await _use_everything(f"redis+cluster://127.0.0.1:{server.port}")


async def test_the_report_names_the_primary_of_a_cluster(cluster: ClusterGroup) -> None:
    """A URL of one node works only if that has the keys; else the remedy is the other scheme."""
    report = await report_on_redis(cluster.url, PREFIX)
    assert report.ok
    assert report.text == f"ok: 127.0.0.1:{cluster.owner.port} is the primary, found in the cluster"
    owner = cluster.owner
    reports = {server: await report_on_redis(server.url, PREFIX) for server in cluster.servers}
    assert [server for server, report in reports.items() if report.ok] == [owner]
    assert "redis+cluster://" in reports[cluster.other()].text


async def test_a_user_of_a_cluster_reads_its_slots_too(cluster: ClusterGroup) -> None:
    """The documented permissions suffice with this one; without it the report names it."""
    url = cluster.url.replace("://", "://ddb:hush@")
    for more, works in (("", False), ("+cluster|slots", True)):
        rules = f"reset on >hush ~{PREFIX}* -@all {_ALLOWED} {more}"
        for server in cluster.servers:
            ask(server, "ACL", "SETUSER", "ddb", *rules.split())
        report = await report_on_redis(url, PREFIX)
        assert report.ok is works
        assert works or "a cluster needs the permission `+cluster|slots` too" in report.text
        assert "hush" not in report.text
    await _use_everything(url)


async def test_commands_follow_a_slot_that_is_moved(cluster: ClusterGroup) -> None:
    """Keys that were moved are used at their new node, without an error to the caller."""
    async with opened(cluster.url) as counter:
        assert await counter.count() == 1
        source = cluster.owner
        await asyncio.to_thread(cluster.reshard, cluster.other())
        assert await counter.client.run(counter.script, (PREFIX,), (counter.name,)) == 2
        await asyncio.to_thread(cluster.reshard, source)
        assert await counter.client.run(counter.script, (PREFIX,), (counter.name,)) == 3


async def test_an_event_at_another_primary_is_not_acknowledged(cluster: ClusterGroup) -> None:
    """A command may have gone to the primary before the one that is confirmed."""
    async with opened(cluster.url) as counter:
        primary = await counter.client.primary()
        assert primary == ("127.0.0.1", cluster.owner.port)
        await counter.client.confirm(primary)
        with pytest.raises(StoreError) as failed:
            await counter.client.confirm(("127.0.0.1", cluster.other().port))
        assert failed.value.words == "another primary was found meanwhile"


async def test_a_replica_in_a_cluster_takes_over(cluster: ClusterGroup) -> None:
    """Commands succeed again when the replica of a killed primary has taken over."""
    async with opened(cluster.url) as counter:
        assert await counter.can_count()
        killed = cluster.owner
        killed.kill()
        await eventually(counter.can_count, patience=PATIENCE)
        assert cluster.owner is not killed
        killed.start()


async def test_everything_works_behind_sentinels(sentinels: SentinelGroup) -> None:
    """Pages, leases and limits are at the primary; the report names it."""
    await _use_everything(sentinels.url)
    report = await report_on_redis(sentinels.url, PREFIX)
    port = sentinels.primary.port
    assert report.text == f"ok: 127.0.0.1:{port} is the primary, found by Sentinel"


async def test_an_unknown_service_is_named_in_the_report(sentinels: SentinelGroup) -> None:
    """Sentinels answer, but know no such primary."""
    report = await report_on_redis(sentinels.url.replace("/fleet", "/other"), PREFIX)
    assert not report.ok
    assert "no Sentinel names the primary" in report.text


async def test_an_earlier_primary_is_not_trusted(sentinels: SentinelGroup) -> None:
    """A primary that hung during a failover answers again, but is not asked any more."""
    async with opened(sentinels.url) as counter:
        assert await counter.can_count()
        hung = sentinels.primary
        hung.pause()
        try:
            await eventually(counter.can_count, patience=PATIENCE)
        finally:
            hung.resume()
        assert sentinels.primary is not hung
        count = await counter.count()
        assert await counter.count() == count + 1


async def test_no_primary_is_trusted_without_sentinels(sentinels: SentinelGroup) -> None:
    """A failover would not be noticed; one Sentinel suffices."""
    async with opened(sentinels.url) as counter:
        assert await counter.can_count()
        first, *others = sentinels.sentinels
        first.kill()
        assert await counter.can_count()
        for sentinel in others:
            sentinel.kill()
        primary = await counter.client.primary()
        with pytest.raises(StoreError) as failed:
            await counter.client.confirm(primary)
        assert "no Sentinel confirms the primary" in failed.value.words
        for sentinel in sentinels.sentinels:
            sentinel.start()
        await eventually(counter.can_count, patience=PATIENCE)
