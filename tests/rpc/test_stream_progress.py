"""Reads that must show a write, on two replicas of which one follows the table's stream."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from math import inf
from pathlib import Path
from typing import Any, Final

import pytest

from dynamodb_processor.v1.query_pb2 import CachePolicy, CacheStatus
from dynamodb_processor.v1.query_service_pb2 import QueryResponse
from tests.rpc.data import event, events_schema
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.redis_server import RedisServer
from tests.support.running import Service, eventually, make_key, open_service, query_spec
from tests.support.scraping import families

HIT: Final = CacheStatus.CACHE_STATUS_HIT
USERS: Final = tuple(f"user-{number}" for number in range(4))
WRITER: Final = "writer"  # whose events nobody has cached
SKEW: Final = 0.1
SETTINGS: Final[dict[str, Any]] = {
    "token_keys": f"a:{'A' * 43}",
    "cache_clock_skew": SKEW,
    "stream_poll_interval": 0.2,
    # DynamoDB Local shows records and writes at once.
    "stream_delay": 0,
    "cache_quarantine": 0,
    "cache_index_quarantine": 0,
    "metrics_listen": "127.0.0.1:0",
}


class Fleet:
    """Two replicas with one Redis, a table with a stream, and its writer."""

    def __init__(self, client: Any, table: str) -> None:
        self.replicas: list[Service] = []
        self._client = client
        self._table = table

    def write(self, user: str, number: int) -> float:
        """Write an event, and return a time after the write."""
        put_items(self._client, self._table, [event(user, number)])
        return time.time()

    async def read(self, replica: int, user: str, not_before: float | None = None) -> QueryResponse:
        """Read the events of a user."""
        policy = CachePolicy()
        if not_before is not None:
            policy.not_before.FromNanoseconds(int(not_before * 1e9))
        spec = query_spec("events", "user_id = :u", parameters={"u": user})
        return await self.replicas[replica].query(spec, cache=policy)

    async def known_until(self, replica: int) -> float:
        """Return the time before which a replica knows every write; -inf before it knows any."""
        now = time.time()
        for family in await families(self.replicas[replica]):
            if family.name == "dynamodb_processor_stream_progress_age_seconds" and family.samples:
                return now - family.samples[0].value
        return -inf

    async def follows(self, replica: int) -> bool:
        """Return whether a replica follows the stream itself."""
        name = "dynamodb_processor_stream_behind_seconds"
        found = [f for f in await families(self.replicas[replica]) if f.name == name]
        return bool(found and found[0].samples)


@pytest.fixture
async def fleet(
    own_redis: RedisServer, dynamodb_local: str, tmp_path: Path
) -> AsyncIterator[Fleet]:
    """Two replicas that have cached the events of every user; the first follows the stream."""
    table = f"rpc-progress-{uuid.uuid4().hex[:8]}"
    served = {"table": table, "invalidate_from_stream": True}
    with closing(open_client(dynamodb_local)) as client:
        create_table(client, events_schema(table), stream_view="NEW_AND_OLD_IMAGES")
        fleet = Fleet(client, table)
        for user in USERS:
            fleet.write(user, 1)
        async with AsyncExitStack() as stack:
            for number in range(2):
                directory = tmp_path / str(number)
                directory.mkdir()
                service = await stack.enter_async_context(
                    open_service(
                        directory,
                        dynamodb_local,
                        {"tables": {"events": served}},
                        [make_key("reports")],
                        redis_url=own_redis.url,
                        **SETTINGS,
                    )
                )
                fleet.replicas.append(service)

                async def knows(number: int = number) -> bool:
                    return await fleet.known_until(number) > -inf

                await eventually(knows)
            assert [await fleet.follows(number) for number in range(2)] == [True, False]
            for number in range(2):
                for user in USERS:

                    async def cached(number: int = number, user: str = user) -> bool:
                        return (await fleet.read(number, user)).cache.status == HIT

                    await eventually(cached)
            yield fleet


async def test_an_older_page_is_served_once_the_stream_has_been_followed(fleet: Fleet) -> None:
    """Before that it is read, and a page whose data was written is read anyway.

    The first replica knows by its own reads of the stream, the second by way of Redis.
    """
    written = fleet.write(WRITER, 1)
    for replica in range(2):
        early, late, changed = USERS[replica * 2], USERS[replica * 2 + 1], USERS[1 - replica]
        page = await fleet.read(replica, early, time.time())
        assert page.cache.status != HIT
        assert page.read_time.ToNanoseconds() / 1e9 > written

        async def followed(replica: int = replica) -> bool:
            return await fleet.known_until(replica) > written + SKEW

        await eventually(followed)
        page = await fleet.read(replica, late, written)
        assert page.cache.status == HIT
        assert page.read_time.ToNanoseconds() / 1e9 < written

        changed_at = fleet.write(changed, 2 + replica)
        page = await fleet.read(replica, changed, changed_at)
        assert page.cache.status != HIT
        assert int(page.items[-1].attributes["at"].n) == 2 + replica
