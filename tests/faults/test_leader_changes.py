"""The replica that consumes a stream stops; the next one continues, and no stale page is served.

The table is DynamoDB Local's; its stream is a script, whose shard has had no record yet.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from dynamodb_processor.v1.query_pb2 import CACHE_STATUS_HIT
from tests.faults.load import event, events_schema
from tests.faults.shard_tree import ShardTree
from tests.faults.stub import open_stub
from tests.support.access import token_keys
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.redis_server import RedisServer
from tests.support.running import Service, eventually, open_service, query_spec
from tests.support.scraping import metric

_USERS: Final = ("u-1", "u-2", "u-3")
# Reads of DynamoDB Local are never stale, and a slow machine is not under test.
_SETTINGS: Final = {
    "stream_poll_interval": 0.2,
    "stream_max_lag": 60.0,
    "cache_quarantine": 0.0,
    "redis_timeout": 1.0,
    "metrics_listen": "127.0.0.1:0",
}


async def _read(service: Service, user: str) -> tuple[str, bool]:
    """Return the note of a user's event, and whether it came from a cache."""
    spec = query_spec("events", "user_id = :user", parameters={"user": user})
    page = await service.query(spec)
    (item,) = page.items
    return item.attributes["note"].s, page.cache.status == CACHE_STATUS_HIT


async def _invalidations(service: Service, reason: str) -> float:
    return await metric(service, "stream_table_invalidations_total", reason=reason)


@pytest.mark.parametrize("knows_times", [True, False], ids=["times", "no-times"])
async def test_the_next_leader_continues_a_shard_without_a_record(
    knows_times: bool,
    tmp_path: Path,
    dynamodb_local: str,
    own_redis: RedisServer,
    report: Callable[[str, str, str], None],
) -> None:
    """A write between the two is invalidated; the table only where records have no times."""
    table, client = f"faults-leaders-{uuid.uuid4().hex[:8]}", open_client(dynamodb_local)
    create_table(client, events_schema(table), "NEW_AND_OLD_IMAGES")
    before = {user: {**event(user, 1), "note": {"S": "before"}} for user in _USERS}
    put_items(client, table, list(before.values()))
    tree = ShardTree(knows_times=knows_times)
    settings: dict[str, Any] = {
        **_SETTINGS, "redis_url": own_redis.url, "redis_prefix": f"{table}:",
        "token_keys": token_keys("shared"),
    }  # fmt: skip

    async with open_stub(dynamodb_local, tree.acts) as stub, AsyncExitStack() as stack:

        @asynccontextmanager
        async def replica(name: str) -> AsyncIterator[Service]:
            config = {"events": {"table": table, "invalidate_from_stream": True}}
            folder = tmp_path / name
            folder.mkdir()
            endpoint = f"http://127.0.0.1:{stub.port}"
            async with open_service(folder, endpoint, {"tables": config}, **settings) as service:
                yield service

        async with replica("first") as first:
            await eventually(lambda: _invalidations(first, "started"))
            second = await stack.enter_async_context(replica("second"))

            async def cached() -> bool:
                return all([(await _read(second, user))[1] for user in _USERS])

            await eventually(cached)
        after = {**before["u-1"], "note": {"S": "after"}}
        await asyncio.to_thread(client.put_item, TableName=table, Item=after)
        tree.write("root", before["u-1"], after)

        async def fresh() -> bool:
            return await _read(second, "u-1") == ("after", True)

        await eventually(fresh)
        kept = [(await _read(second, user))[1] for user in _USERS[1:]]
        invalidated = {
            reason: await _invalidations(second, reason) for reason in ("taken_over", "lost")
        }
    client.close()
    report(
        "a leader stops, a shard had no record yet: "
        + ("times known" if knows_times else "times not known"),
        "no stale page; the table invalidated only where the endpoint does not know times",
        f"the write seen; other pages {'kept' if all(kept) else 'ended'}; the table invalidated "
        f"{invalidated}",
    )
    assert invalidated == {"taken_over": 0 if knows_times else 1, "lost": 0}
    assert all(kept) or not knows_times
