"""Consuming a stream of DynamoDB Local: every write invalidates the partitions that it affects."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random
from typing import Any, Final

import pytest

from dynamodb_processor_server.cache.item_refresh import ItemChange
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
from dynamodb_processor_server.dynamodb.clients import Clients, ClientSettings
from dynamodb_processor_server.dynamodb.streams import STREAMS, DynamoDBStreams
from dynamodb_processor_server.query.planning.tags import Partition
from dynamodb_processor_server.runtime.timing import PollSettings
from tests.faults.stub import Ask, Reply, open_stub, refusal, reply_with
from tests.support.conditions import WireItem
from tests.support.datasets import Index, Schema
from tests.support.dynamodb import REGION, create_table
from tests.support.lengths import timely
from tests.support.oracle import canonical_item
from tests.support.running import eventually
from tests.unit.change_streams.scripted_stream import RecordingCache, partition_text

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
    """Records the time of each invalidation as well."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[tuple[float, str]] = []

    async def invalidate_partitions(
        self, table: Table, partitions: Collection[Partition], changes: Sequence[ItemChange]
    ) -> None:
        """Record partitions and changes."""
        await super().invalidate_partitions(table, partitions, changes)
        now = time.monotonic()
        self.times += [(now, partition_text(partition)) for partition in partitions]


class ConsumedTable:
    """A table, its stream, and the invalidations that the stream's consumer made."""

    def __init__(self, dynamodb: Any, endpoint_url: str) -> None:
        self.client = dynamodb
        settings = ClientSettings(endpoint_url=endpoint_url, region=REGION)
        self.clients = Clients(settings, STREAMS)
        self.streams = DynamoDBStreams(self.clients)
        self.cache = TimedCache()
        self.table: Table | None = None

    async def describe(self) -> Table:
        """Describe the table."""
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
def consumed(dynamodb: Any, dynamodb_local: str) -> ConsumedTable:
    """A table with a stream that is not consumed yet."""
    create_table(dynamodb, SCHEMA, BOTH)
    return ConsumedTable(dynamodb, dynamodb_local)


@asynccontextmanager
async def consuming(consumed: ConsumedTable) -> AsyncIterator[StreamConsumer]:
    """Consume the stream for the time of the `async with`."""
    await consumed.describe()
    async with consumed.clients:
        poll_settings = PollSettings(interval=0.2, max_lag=10.0)
        consumer = StreamConsumer(
            lambda: consumed.table, consumed.streams, consumed.cache, poll_settings
        )
        task = asyncio.create_task(consumer.run())
        try:
            await eventually(lambda: bool(consumer.stats.table_invalidations[STARTED]))
            yield consumer
        finally:
            task.cancel()
            await asyncio.wait((task,))


def _item(random: Random, room: str, number: int) -> WireItem:
    item: dict[str, Any] = {"room": {"S": room}, "number": {"N": str(number)}}
    values = {
        "day": {"S": f"2026-01-0{random.randrange(1, 4)}"},
        "owner": {"S": random.choice(("ann", "bob", "é", "\ud83d"))},
        "level": {"N": random.choice(("1", "1.50", "-2E3"))},
        "mark": {"B": random.choice((b"\x00", b"\xff\x01"))},
        "zone": {"S": random.choice(("n", "s"))},
        "note": {"M": {"B": {"B": b"\x00"}}},
    }
    return item | {name: value for name, value in values.items() if random.random() < 0.8}


def _partitions(item: WireItem | None) -> set[str]:
    """Return the partitions that hold an item, by the test's own schema."""
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


def _plain(item: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: dict(value) for name, value in item.items()}


def _check_changes(
    changes: Sequence[ItemChange], items: Mapping[tuple[str, int], WireItem]
) -> None:
    """Check that the last change of each item has the item as a read returns it."""
    latest = {(c.key["room"]["S"], int(c.key["number"]["N"])): c for c in changes}
    images = {key: change.image for key, change in latest.items() if change.image is not None}
    assert images.keys() == items.keys()
    for key, image in images.items():
        assert canonical_item(_plain(image)) == canonical_item(_plain(items[key]))
    for key, change in latest.items():
        own = [c.sequence for c in changes if c.key == change.key]
        assert own == sorted(set(own)), f"the records of {key} are out of order"
        assert abs(change.created - time.time()) < 120
        assert change.created == int(change.created)


async def test_every_write_invalidates_the_partitions_it_affects(
    consumed: ConsumedTable, show_line: Callable[[str], None]
) -> None:
    """Items change their index partitions: the old and the new partition are both invalidated."""
    random = Random(6)
    items: dict[tuple[str, int], WireItem] = {}
    writes: list[tuple[float, set[str]]] = []
    async with consuming(consumed) as consumer:
        for _ in range(_WRITES):
            room, number = random.choice("abc"), random.randrange(12)
            old = items.pop((room, number), None)
            new = None if old and random.random() < 0.25 else _item(random, room, number)
            began = time.monotonic()
            if new is None:
                key = {"room": {"S": room}, "number": {"N": str(number)}}
                await consumed.ask("delete_item", Key=key)
            else:
                await consumed.write(new)
                items[room, number] = new
            if old != new:
                writes.append((began, _partitions(old) | _partitions(new)))
        await eventually(lambda: sum(consumer.stats.ages) >= len(writes))
    assert consumer.stats.table_invalidations == {STARTED: 1}
    _check_changes(consumed.cache.changes, items)
    lags = []
    for began, affected in writes:
        for name in affected:
            later = [at for at, text in consumed.cache.times if text == name and at > began]
            assert later, f"{name} was not invalidated"
            lags.append(later[0] - began)
    lags.sort()
    p50, p99 = (lags[int(len(lags) * share)] for share in (0.5, 0.99))
    show_line(
        f"stream: {len(writes)} writes, {len(lags)} partitions invalidated after "
        f"{p50:.3f} s (p50), {p99:.3f} s (p99)"
    )
    assert timely(p99, 5.0)


async def test_records_with_keys_alone_invalidate_the_table(consumed: ConsumedTable) -> None:
    """A stream with another view type does not show the index partitions of an item."""
    create_table(consumed.client, SCHEMA, "KEYS_ONLY")
    async with consuming(consumed) as consumer:
        await consumed.write(_item(Random(1), "a", 1))
        await eventually(lambda: bool(consumer.stats.table_invalidations[NO_IMAGES]))
    assert consumed.cache.times == []


async def test_a_stream_that_is_switched_off_and_on_is_another_one(consumed: ConsumedTable) -> None:
    """The table is invalidated when the new stream is consumed, and new writes are processed."""
    async with consuming(consumed) as consumer:
        first = consumed.table
        await consumed.ask("update_table", StreamSpecification={"StreamEnabled": False})
        assert (await consumed.describe()).schema.stream_arn is None
        view = {"StreamEnabled": True, "StreamViewType": BOTH}
        await asyncio.sleep(1)  # a stream's name is the second of its creation
        await consumed.ask("update_table", StreamSpecification=view)
        assert (await consumed.describe()).schema != (first and first.schema)
        await eventually(lambda: consumer.stats.table_invalidations[STARTED] == 2)
        await consumed.write(_item(Random(1), "a", 1))
        await eventually(lambda: bool(consumed.cache.times))
        assert consumer.stats.table_invalidations[BEHIND] == 0
        assert consumer.stats.table_invalidations[LOST] == 0


async def test_children_are_found_with_a_filter(consumed: ConsumedTable) -> None:
    """An open shard has none; DynamoDB Local knows the filter, and its shards never end."""
    stream = StreamLocation.of(await consumed.describe())
    assert stream is not None
    async with consumed.clients:
        (shard,) = await consumed.streams.shards(stream)
        assert await consumed.streams.children(stream, shard.shard_id) == []


async def test_dynamodb_local_finds_no_records_by_their_time(consumed: ConsumedTable) -> None:
    """It fails at iterators that start at a time, which is no reason to try again."""
    stream = StreamLocation.of(await consumed.describe())
    assert stream is not None
    async with consumed.clients:
        (shard,) = await consumed.streams.shards(stream)
        cursor = ShardCursor(shard.shard_id, Start.AT_TIMESTAMP, 0.0, since=time.time())
        with pytest.raises(RecordsLost, match="by their time"):
            await consumed.streams.iterator(stream, cursor)


async def test_times_are_sent_in_seconds_since_the_epoch(dynamodb_local: str) -> None:
    """The model of botocore knows no times of iterators; the requests have them all the same."""
    asked: list[dict[str, Any]] = []

    async def answer(request: dict[str, Any], _: Ask) -> Reply:
        asked.append(request)
        in_future = request["Timestamp"] > time.time()
        return refusal("ValidationException") if in_future else reply_with({"ShardIterator": "i"})

    async with open_stub(dynamodb_local, {"GetShardIterator": answer}) as stub:
        settings = ClientSettings(endpoint_url=f"http://127.0.0.1:{stub.port}", region=REGION)
        async with Clients(settings, STREAMS) as clients:
            cursor = ShardCursor("a", Start.AT_TIMESTAMP, 0.0, since=time.time())
            assert await DynamoDBStreams(clients).iterator(StreamLocation("s"), cursor) == "i"
    assert asked[-1] == {
        "StreamArn": "s",
        "ShardId": "a",
        "ShardIteratorType": "AT_TIMESTAMP",
        "Timestamp": int(cursor.since - 600),
    }


async def test_a_stream_or_shard_that_does_not_exist_is_lost(consumed: ConsumedTable) -> None:
    """The source returns records in order, and raises RecordsLost for unknown names."""
    table = await consumed.describe()
    stream = StreamLocation.of(table)
    assert stream is not None
    streams = consumed.streams
    async with consumed.clients:
        (shard,) = await streams.shards(stream)
        assert (shard.parent, shard.closed) == (None, False)
        cursor = ShardCursor(shard.shard_id, Start.TRIM_HORIZON, 0.0)
        batch = await streams.records(stream, await streams.iterator(stream, cursor))
        assert (batch.records, batch.full) == ([], False)
        assert batch.iterator is not None
        for number in range(3):
            await consumed.write({"room": {"S": "a"}, "number": {"N": str(number)}})
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
