"""Tests of a client with several targets, which picks a replica by the affinity key."""

from __future__ import annotations

import re
import socket
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo

from dynamodb_processor_client import Query, QueryClient, ResumePolicy, Unavailable
from dynamodb_processor_client.channel import replica_options
from dynamodb_processor_client.rendezvous import ranking
from tests.support.fake_server import running
from tests.support.fake_service import Cut, Failure, FakeService, numbered
from tests.support.running import eventually
from tests.support.threaded_client import ClientFactory
from tests.unit.client.fake_time import FakeTime

_ADDRESSES = ("10.0.0.1:50051", "10.0.0.2:50051", "10.0.0.3:50051")
_KEYS = [f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}" for number in range(3_000)]

_VECTORS = [[0, 2, 1], [2, 1, 0], [0, 2, 1], [0, 1, 2]]


def test_an_owner_is_the_same_in_every_client() -> None:
    """Clients of several versions agree, whatever the order of their addresses: never change it."""
    assert [ranking(key, _ADDRESSES) for key in _KEYS[:4]] == _VECTORS
    turned = [_ADDRESSES[index] for index in (2, 0, 1)]
    for key in _KEYS[:50]:
        owner = _ADDRESSES[ranking(key, _ADDRESSES)[0]]
        assert turned[ranking(key, turned)[0]] == owner


def test_without_an_address_its_keys_alone_move() -> None:
    """Owners have equal parts of the keys, and those of one that leaves go evenly to the others."""
    owners = [ranking(key, _ADDRESSES)[0] for key in _KEYS]
    assert all(900 < share < 1_100 for share in Counter(owners).values())
    later = [ranking(key, _ADDRESSES[:2])[0] for key in _KEYS]
    elsewhere = [after for before, after in zip(owners, later, strict=True) if before == 2]
    assert all(before in (2, after) for before, after in zip(owners, later, strict=True))
    assert min(Counter(elsewhere).values()) > 400


class World:
    """Three services, a client of all of them, and the service that each read has reached."""

    def __init__(self, make_client: ClientFactory, time: FakeTime) -> None:
        self.services = [FakeService(items=numbered(150)) for _ in range(3)]
        self._lives = [AsyncExitStack() for _ in self.services]
        self._policy = ResumePolicy(sleep=time.sleep, clock=time.read)
        self._make_client = make_client

    async def start(self) -> None:
        """Start every service."""
        for service, life in zip(self.services, self._lives, strict=True):
            service.table.table.key.partition.add(name="user_id")
            await life.enter_async_context(running(service))

    async def stop(self, index: int) -> None:
        """Stop one service."""
        await self._lives[index].aclose()

    async def close(self) -> None:
        """Stop those that still run."""
        for life in self._lives:
            await life.aclose()

    def client(self, **options: Any) -> QueryClient:
        """Return a client of all services."""
        targets = [service.address for service in self.services]
        return self._make_client(targets, affinity=True, resume=self._policy, **options)

    def reached(self) -> list[int]:
        """Return the number of reads of each service, and forget them."""
        counts = [len(each.requests) + len(each.stream_requests) for each in self.services]
        for service in self.services:
            service.requests.clear()
            service.stream_requests.clear()
        return counts

    async def owners(self, client: QueryClient, users: Sequence[int]) -> list[int]:
        """Read once for each user, and return the services that the reads have reached."""
        self.reached()
        owners = []
        for user in users:
            await client.query(_query(user))
            (owner,) = [at for at, count in enumerate(self.reached()) if count]
            owners.append(owner)
        return owners


def _query(user: int) -> Query:
    return Query("numbers", "user_id = :u", u=f"u-{user}")


@pytest.fixture
async def world(make_client: ClientFactory, time: FakeTime) -> AsyncIterator[World]:
    """Three running services."""
    world = World(make_client, time)
    await world.start()
    yield world
    await world.close()


async def test_equal_reads_reach_one_replica(world: World) -> None:
    """Keys of a replica that leaves move to the others, and those of the others stay."""
    users = range(24)
    async with world.client() as client:
        before = await world.owners(client, users)
        assert await world.owners(client, users) == before
        assert min(Counter(before).values()) >= 2
        await world.stop(0)
        after = await world.owners(client, users)
        for owner, later in zip(before, after, strict=True):
            assert later == owner or (owner == 0 and later != 0)
        assert {later for owner, later in zip(before, after, strict=True) if owner == 0} == {1, 2}


async def test_a_stream_goes_to_the_owner_of_its_key(world: World) -> None:
    """So do counts and batches; once the owner has left, streams go to the next replica."""
    async with world.client() as client:
        (owner,) = await world.owners(client, [5])
        assert len([item async for item in client.stream(_query(5))]) == 150
        assert world.reached()[owner] == 1
        await world.stop(owner)
        (later,) = await world.owners(client, [5])
        assert len([item async for item in client.stream(_query(5))]) == 150
        assert later != owner
        assert world.reached()[later] == 1


async def test_a_stream_begins_elsewhere_while_its_owner_leaves(world: World) -> None:
    """The first stream after a replica has left needs no call before it that finds this out."""
    async with world.client() as client:
        (owner,) = await world.owners(client, [5])
        await world.stop(owner)
        stream = client.stream(_query(5))
        assert len([item async for item in stream]) == 150
        reached = world.reached()
        assert sum(reached) == 1
        assert not reached[owner]


async def test_a_replica_that_does_not_answer_is_left(
    make_client: ClientFactory,
) -> None:
    """A connection that hangs is given up, and its call made elsewhere."""
    service = FakeService(items=numbered(1))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with running(service):
            targets = [f"127.0.0.1:{silent.getsockname()[1]}", service.address]
            options = [("grpc.min_reconnect_backoff_ms", 100)]
            async with make_client(targets, affinity=True, options=options) as client:
                await client.tables()
        assert len(service.metadata) == 1
    assert dict(replica_options(()))["grpc.min_reconnect_backoff_ms"] == 2_000
    assert list(replica_options(options)) == options


async def test_a_replica_that_comes_back_has_its_keys_again(world: World) -> None:
    """The client connects again by itself."""
    async with world.client() as client:
        (owner,) = await world.owners(client, [5])
        await world.stop(owner)
        assert await world.owners(client, [5]) != [owner]
        again = world.services[owner]
        async with running(again, address=again.address):

            async def is_back() -> bool:
                return await world.owners(client, [5]) == [owner]

            await eventually(is_back)


async def test_calls_without_a_key_go_to_all_in_turn(world: World) -> None:
    """Calls of the catalog are spread, also while a replica is down."""
    async with world.client() as client:
        for _ in range(6):
            await client.tables()
        assert [len(service.metadata) for service in world.services] == [2, 2, 2]
        await world.stop(1)
        for _ in range(6):
            await client.tables()


@pytest.mark.parametrize(("reason", "elsewhere"), [("DRAINING", True), ("OVERLOADED", False)])
async def test_only_calls_that_have_not_begun_move_on(
    world: World, reason: str, elsewhere: bool
) -> None:
    """A replica that stops is left; the errors of a busy one are not made worse at the others."""
    async with world.client(options=[("grpc.enable_retries", 0)]) as client:
        (owner,) = await world.owners(client, [5])
        info = ErrorInfo(reason=reason, domain="dynamodb-processor")
        refusal = Failure(grpc.StatusCode.UNAVAILABLE, "not now", details=(info,))
        world.services[owner].failures.append(refusal)
        if elsewhere:
            await client.query(_query(5))
        else:
            with pytest.raises(Unavailable, match="not now"):
                await client.query(_query(5))
        assert sum(world.reached()) == elsewhere  # Refused calls are not counted.
        world.services[owner].cuts.append(Cut(0, refusal))
        items = client.stream(_query(5))
        if elsewhere:
            assert len([item async for item in items]) == 150
        else:
            with pytest.raises(Unavailable, match="not now"):
                await anext(items)
        assert sum(world.reached()) == 1 + elsewhere


async def test_without_any_replica_a_call_fails(world: World) -> None:
    """The error is that of the last replica that was tried."""
    async with world.client(options=[("grpc.enable_retries", 0)]) as client:
        for index in range(3):
            await world.stop(index)
        with pytest.raises(Unavailable):
            await client.query(_query(5))
        with pytest.raises(Unavailable):
            await anext(client.stream(_query(5)))


@pytest.mark.parametrize(
    ("targets", "affinity", "reason"),
    [
        ([], True, "target has no address"),
        (["a:1", "a:1"], True, "target has 'a:1' twice"),
        (["a:1", "b:1"], False, "target has several addresses, which need affinity=True"),
        (["a:1", 5], True, "target is a string, not 5"),
        (["a:1", "http://b"], True, "without http:// or https://"),
        ({"a:1"}, True, "target is a string"),
    ],
)
def test_invalid_lists_of_targets(targets: Any, affinity: bool, reason: str) -> None:
    """A list of addresses is checked when the client is made."""
    with pytest.raises((TypeError, ValueError), match=re.escape(reason)):
        QueryClient(targets, affinity=affinity)
