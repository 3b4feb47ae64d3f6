"""Following the stream of a table in DynamoDB Local: every write moves all that it touched."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random
from typing import Any, Final

import pytest

from dynamodb_processor_server.catalog.config import TableConfig
from dynamodb_processor_server.catalog.description import parse_description
from dynamodb_processor_server.catalog.schema import Table
from dynamodb_processor_server.change_streams.consumer import (
    BEHIND,
    LOST,
    NO_IMAGES,
    STARTED,
    StreamConsumer,
)
from dynamodb_processor_server.change_streams.port import (
    RecordsLost,
    StreamLocation,
)
from dynamodb_processor_server.change_streams.shards import ShardCursor, Start
from dynamodb_processor_server.dynamodb.clients import ClientSettings
from dynamodb_processor_server.dynamodb.streams import DynamoDBStreams
from dynamodb_processor_server.query.planning.tags import Partition
from dynamodb_processor_server.runtime.timing import PollSettings
from tests.support.conditions import WireItem
from tests.support.datasets import Index, Schema
from tests.support.dynamodb import REGION, create_table
from tests.support.lengths import timely
from tests.support.running import eventually
from tests.unit.change_streams.scripted_stream import RecordingCache, told

pytestmark = pytest.mark.asyncio(loop_scope="session")

SCHEMA: Final = Schema(
    "contract-streams",
    "room",
    "number",
    (
        Index("by_day", True, ("room",), ("day",), "KEYS_ONLY"),
        Index("by_owner", False, ("owner",), ("day",)),
        Index("by_level", False, ("level",), (), "KEYS_ONLY"),
        Index("by_mark", False, ("mark",), ("number",)),
        Index("by_place", False, ("zone", "level"), ("day", "owner")),
    ),
    {
        "room": "S", "number": "N", "day": "S", "owner": "S", "level": "N", "mark": "B",
        "zone": "S",
    },
)  # fmt: skip
_WRITES: Final = 400
BOTH: Final = "NEW_AND_OLD_IMAGES"


class TimedCache(RecordingCache):
    """Notes when each move was made as well."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[tuple[float, str]] = []

    async def invalidate_partitions(self, table: Table, partitions: Collection[Partition]) -> None:
        """Note partitions."""
        await super().invalidate_partitions(table, partitions)
        now = time.monotonic()
        self.times += [(now, told(partition)) for partition in partitions]


class Followed:
    """A table, its stream and what following it moved."""

    def __init__(self, dynamodb: Any, endpoint_url: str) -> None:
        self.client = dynamodb
        self.streams = DynamoDBStreams(ClientSettings(endpoint_url=endpoint_url, region=REGION))
        self.cache = TimedCache()
        self.table: Table | None = None

    async def describe(self) -> Table:
        """Look at the table."""
        config = TableConfig(table=SCHEMA.table)
        description = await self.ask("describe_table")
        self.table = Table("rooms", config, parse_description(description["Table"]))
        return self.table

    async def ask(self, operation: str, **request: Any) -> Any:
        """Ask DynamoDB something about the table."""
        call = getattr(self.client, operation)
        return await asyncio.to_thread(call, TableName=SCHEMA.table, **request)

    async def write(self, item: WireItem) -> None:
        """Put an item."""
        await self.ask("put_item", Item=item)


@pytest.fixture
def followed(dynamodb: Any, dynamodb_local: str) -> Followed:
    """A table with a stream, not followed yet."""
    create_table(dynamodb, SCHEMA, BOTH)
    return Followed(dynamodb, dynamodb_local)


@asynccontextmanager
async def following(followed: Followed) -> AsyncIterator[StreamConsumer]:
    """Follow the stream for the time of the `async with`."""
    await followed.describe()
    async with followed.streams:
        pace = PollSettings(poll=0.2, max_lag=10.0)
        follower = StreamConsumer(lambda: followed.table, followed.streams, followed.cache, pace)
        task = asyncio.create_task(follower.follow())
        try:
            await eventually(lambda: bool(follower.tally.table_invalidations[STARTED]))
            yield follower
        finally:
            task.cancel()
            await asyncio.wait((task,))


def _item(random: Random, room: str, number: int) -> WireItem:
    item: dict[str, Any] = {"room": {"S": room}, "number": {"N": str(number)}}
    values = {
        "day": {"S": f"2026-01-0{random.randrange(1, 4)}"},
        "owner": {"S": random.choice(("ann", "bob", "é"))},
        "level": {"N": random.choice(("1", "1.50", "-2E3"))},
        "mark": {"B": random.choice((b"\x00", b"\xff\x01"))},
        "zone": {"S": random.choice(("n", "s"))},
        "note": {"M": {"B": {"B": b"\x00"}}},
    }
    return item | {name: value for name, value in values.items() if random.random() < 0.8}


def _partitions(item: WireItem | None) -> set[str]:
    """Return the partitions that hold an item, going by the test's own schema."""
    if item is None:
        return set()
    found = {f"@table={item['room']['S']}"}
    for index in SCHEMA.indexes:
        if all(name in item for name in index.keys):
            values = (_shown(item[name]) for name in index.partition)
            found.add(f"{index.name}={','.join(values)}")
    return found


def _shown(value: Any) -> str:
    ((kind, data),) = value.items()
    numbers = {"1": "1", "1.50": "1.5", "-2E3": "-2E+3"}
    return numbers[data] if kind == "N" else str(data)


async def test_every_write_moves_what_it_touched(
    followed: Followed, show_line: Callable[[str], None]
) -> None:
    """Items move between partitions of the table's indexes: those left and those entered move."""
    random = Random(6)
    items: dict[tuple[str, int], WireItem] = {}
    writes: list[tuple[float, set[str]]] = []
    async with following(followed) as follower:
        for _ in range(_WRITES):
            room, number = random.choice("abc"), random.randrange(12)
            old = items.pop((room, number), None)
            new = None if old and random.random() < 0.25 else _item(random, room, number)
            began = time.monotonic()
            if new is None:
                key = {"room": {"S": room}, "number": {"N": str(number)}}
                await followed.ask("delete_item", Key=key)
            else:
                await followed.write(new)
                items[room, number] = new
            if old != new:
                writes.append((began, _partitions(old) | _partitions(new)))
        await eventually(lambda: sum(follower.tally.ages) >= len(writes))
    assert follower.tally.table_invalidations == {STARTED: 1}
    lags = []
    for began, touched in writes:
        for name in touched:
            later = [at for at, moved in followed.cache.times if moved == name and at > began]
            assert later, f"{name} was not moved"
            lags.append(later[0] - began)
    lags.sort()
    p50, p99 = (lags[int(len(lags) * share)] for share in (0.5, 0.99))
    show_line(
        f"stream: {len(writes)} writes, {len(lags)} partitions moved after "
        f"{p50:.3f} s (p50), {p99:.3f} s (p99)"
    )
    assert timely(p99, 5.0)


async def test_keys_alone_move_the_table(followed: Followed) -> None:
    """A stream of another view does not show what indexes held."""
    create_table(followed.client, SCHEMA, "KEYS_ONLY")
    async with following(followed) as follower:
        await followed.write(_item(Random(1), "a", 1))
        await eventually(lambda: bool(follower.tally.table_invalidations[NO_IMAGES]))
    assert followed.cache.times == []


async def test_a_stream_that_is_switched_off_and_on_is_another_one(followed: Followed) -> None:
    """The table is moved when the new one is followed, and its writes are seen."""
    async with following(followed) as follower:
        first = followed.table
        await followed.ask("update_table", StreamSpecification={"StreamEnabled": False})
        assert (await followed.describe()).schema.stream_arn is None
        view = {"StreamEnabled": True, "StreamViewType": BOTH}
        await asyncio.sleep(1)  # a stream is named by the moment it was made
        await followed.ask("update_table", StreamSpecification=view)
        assert (await followed.describe()).schema != (first and first.schema)
        await eventually(lambda: follower.tally.table_invalidations[STARTED] == 2)
        await followed.write(_item(Random(1), "a", 1))
        await eventually(lambda: bool(followed.cache.times))
        assert follower.tally.table_invalidations[BEHIND] == 0
        assert follower.tally.table_invalidations[LOST] == 0


async def test_the_source_says_what_is_lost(followed: Followed) -> None:
    """A stream that does not exist is lost; an iterator that is worn out is not."""
    table = await followed.describe()
    stream = StreamLocation.of(table)
    assert stream is not None
    async with followed.streams as streams:
        (shard,) = await streams.shards(stream)
        assert (shard.parent, shard.closed) == (None, False)
        cursor = ShardCursor(shard.shard_id, Start.TRIM_HORIZON, 0.0)
        batch = await streams.records(stream, await streams.iterator(stream, cursor))
        assert (batch.records, batch.full) == ([], False)
        assert batch.iterator is not None
        for number in range(3):
            await followed.write({"room": {"S": "a"}, "number": {"N": str(number)}})
        batch = await streams.records(stream, batch.iterator)
        assert [record.change for record in batch.records] == ["INSERT"] * 3
        again = replace(cursor, sequence=batch.records[0].sequence)
        rest = await streams.records(stream, await streams.iterator(stream, again))
        assert [record.sequence for record in rest.records] == [
            record.sequence for record in batch.records[1:]
        ]
        gone = replace(stream, arn=f"{stream.arn}0")
        with pytest.raises(RecordsLost):
            await streams.shards(gone)
        with pytest.raises(RecordsLost):
            await streams.iterator(stream, replace(cursor, shard_id=f"{shard.shard_id[:-1]}z"))
