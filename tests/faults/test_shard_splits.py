"""Shards of a stream end and split, iterators expire, records are lost; the cache stays right.

The table is DynamoDB Local's; its stream is a script, as DynamoDB Local's shards never split.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio

from dynamodb_processor.v1.query_pb2 import CACHE_STATUS_HIT
from tests.faults.conftest import Ground, open_ground
from tests.faults.load import event, events_schema
from tests.faults.shard_tree import ShardTree
from tests.faults.stub import refusal
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.running import eventually, query_spec

_USERS: Final = ("u-1", "u-2", "u-3", "u-4")
_THROTTLED: Final = refusal("LimitExceededException")
_FAILED: Final = refusal("InternalServerError", 500)
_GONE: Final = refusal("ResourceNotFoundException")
# Reads of DynamoDB Local are never stale, and a slow machine is not under test.
_SETTINGS: Final = {
    "single_replica": True,
    "stream_poll_interval": 0.2,
    "stream_max_lag": 60.0,
    "cache_quarantine": 0.0,
}


@dataclass
class Followed:
    """A table of one event for each user, whose stream a server follows."""

    ground: Ground
    tree: ShardTree
    client: Any
    table: str
    notes: dict[str, str] = field(default_factory=dict)  # As written last, by user.

    async def write(self, shard_id: str, user: str) -> None:
        """Write a user's event anew, past the service; the shard has the record of it."""
        item = {**event(user, 1), "note": {"S": uuid.uuid4().hex}}
        before = await asyncio.to_thread(
            self.client.put_item, TableName=self.table, Item=item, ReturnValues="ALL_OLD"
        )
        self.notes[user] = item["note"]["S"]
        self.tree.write(shard_id, before.get("Attributes"), item)

    async def is_current(self, user: str) -> bool:
        """Return whether the page of a user shows the last write."""
        return (await self._page(user))[0]

    async def wait_for_invalidation(self, user: str) -> None:
        """Wait until the page of a user shows the last write."""
        await eventually(lambda: self.is_current(user))

    async def invalidated(self) -> tuple[str, ...]:
        """Return the users whose last writes are shown, so whose cached pages are invalid."""
        return tuple([user for user in self.notes if await self.is_current(user)])

    async def is_cached(self, user: str) -> bool:
        """Return whether the page of a user came from the cache."""
        return (await self._page(user))[1]

    async def invalidations(self, reason: str) -> float:
        """Return how often the whole table was invalidated for a reason."""
        return await self.ground.metric("stream_table_invalidations_total", reason=reason)

    async def _page(self, user: str) -> tuple[bool, bool]:
        spec = query_spec("events", "user_id = :user", parameters={"user": user})
        page = await self.ground.service.query(spec)
        (item,) = page.items
        current = item.attributes["note"].s == self.notes.get(user)
        return current, page.cache.status == CACHE_STATUS_HIT


@pytest_asyncio.fixture
async def followed(tmp_path: Path, dynamodb_local: str) -> AsyncIterator[Followed]:
    """A server that has begun to follow, with every page cached."""
    table = f"faults-shards-{uuid.uuid4().hex[:8]}"
    client = open_client(dynamodb_local)
    create_table(client, events_schema(table), "NEW_AND_OLD_IMAGES")
    put_items(client, table, [event(user, 1) for user in _USERS])
    tree = ShardTree()
    async with open_ground(
        tmp_path,
        dynamodb_local,
        table,
        config={"invalidate_from_stream": True},
        acts=tree.acts,
        **_SETTINGS,
    ) as ground:
        followed = Followed(ground, tree, client, table)
        await eventually(lambda: followed.invalidations("started"))
        for user in _USERS:
            await followed.is_cached(user)
            assert await followed.is_cached(user)
        yield followed
    client.close()


async def test_shards_are_read_in_their_order(
    followed: Followed, report: Callable[[str, str, str], None]
) -> None:
    """Records of a parent come before those of its children; each child is read by itself."""
    tree = followed.tree
    tree.hold("root")
    await followed.write("root", "u-1")
    tree.split("root", "left", "right")
    tree.hold("left", "right")
    await followed.write("left", "u-2")
    await followed.write("right", "u-3")
    tree.release("root")
    await eventually(lambda: {"left", "right"} <= tree.asked)
    invalidated = [await followed.invalidated()]
    for child, user in (("left", "u-2"), ("right", "u-3")):
        tree.release(child)
        await followed.wait_for_invalidation(user)
        invalidated.append(await followed.invalidated())

    # With its sister's child, a child is found whose parent has yet to be read to its end.
    tree.fail("right", _THROTTLED, times=2)
    tree.split("left", "below left")
    tree.split("right", "below right")
    await followed.write("below right", "u-4")
    await followed.wait_for_invalidation("u-4")
    invalidated.append(await followed.invalidated())

    reasons = ("started", "lost", "behind")
    invalidations = {reason: await followed.invalidations(reason) for reason in reasons}
    report(
        "shards of a stream split, and their children end",
        "no shard read before its parent, each invalidated by itself, the table not invalidated",
        f"{len(tree.asked)} shards, read early {sorted(tree.early)}; invalidated, in order: "
        f"{invalidated}; the table invalidated {invalidations}",
    )
    assert invalidated == [_USERS[:1], _USERS[:2], _USERS[:3], _USERS]
    assert not tree.early
    assert invalidations == {"started": 1, "lost": 0, "behind": 0}


@dataclass(frozen=True, slots=True)
class Mishap:
    """A fault of a stream, and whether records may be lost; `at_first` before any was read."""

    name: str
    strike: Callable[[ShardTree], None]
    lost: bool
    at_first: bool = False


MISHAPS: Final = (
    Mishap("iterator expired", ShardTree.expire_iterators, lost=False),
    Mishap("iterator expired before a record", ShardTree.expire_iterators, True, at_first=True),
    Mishap("trimmed", lambda tree: tree.trim("root"), lost=True),
    Mishap("gone", lambda tree: tree.fail("root", _GONE), lost=True),
    Mishap("throttled", lambda tree: tree.fail("root", _THROTTLED, times=2), lost=False),
    Mishap("failing", lambda tree: tree.fail("root", _FAILED, times=2), lost=False),
)


@pytest.mark.parametrize("mishap", MISHAPS, ids=lambda mishap: mishap.name)
async def test_a_stream_goes_wrong(
    mishap: Mishap, followed: Followed, report: Callable[[str, str, str], None]
) -> None:
    """No stale page stays cached; the whole table is invalidated only where records were lost."""
    if not mishap.at_first:
        await followed.write("root", "u-1")
        await followed.wait_for_invalidation("u-1")
    await followed.write("root", "u-2")
    mishap.strike(followed.tree)
    await followed.wait_for_invalidation("u-2")
    await eventually(lambda: _has_begun(followed, 1 + mishap.lost))
    kept = await followed.is_cached("u-3")
    await followed.write("root", "u-3")
    await followed.wait_for_invalidation("u-3")
    lost = await followed.invalidations("lost")
    report(
        f"a table's stream: {mishap.name}",
        "every write invalidated; the table invalidated and followed anew where records were lost",
        f"{len(await followed.invalidated())} of {len(followed.notes)} writes invalidated, "
        f"lost {lost:.0f} times; other pages {'kept' if kept else 'ended'}",
    )
    assert lost == mishap.lost
    assert kept is not mishap.lost


async def _has_begun(followed: Followed, times: int) -> bool:
    return await followed.invalidations("started") == times
