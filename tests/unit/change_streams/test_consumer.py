"""A follower on a scripted stream: what it invalidates, in which order and how soon."""

from __future__ import annotations

from dataclasses import replace

from dynamodb_processor_server.change_streams.consumer import LOST, STARTED
from tests.support.warped_time import warped
from tests.unit.change_streams.scripted_stream import (
    ScriptedStream,
    event,
    following,
    streamed,
    touching,
)


@warped
async def test_the_table_is_moved_when_following_starts() -> None:
    """Nobody knows what was written before; from then on records say it."""
    stream = ScriptedStream()
    stream.write("a", None, event("t", "0"))
    async with following(stream) as followed:
        assert await followed.after(2) == ["table"]
        assert followed.moved == {STARTED: 1}
        stream.write("a", event("t", "1", "u-1"), event("t", "1", "u-2"))
        assert sorted(await followed.after(0.6)) == touching("t", "u-1", "u-2")
        assert await followed.after(120) == []
        assert followed.follower.behind < 1


@warped
async def test_what_is_written_before_the_first_read_is_covered_by_the_move() -> None:
    """Wherever "latest" is, be it when the iterator is made or when it is first used."""
    for late in (False, True):
        stream = ScriptedStream(late_latest=late)

        def write(operation: str, _: str, stream: ScriptedStream = stream) -> None:
            if operation == "records" and not stream.written:
                stream.write("a", None, event("t", "1"))

        stream.fault = write
        async with following(stream) as followed:
            assert (await followed.after(2))[-1] == "table"


@warped
async def test_a_shard_is_read_at_the_pace_given() -> None:
    """DynamoDB answers five reads of a shard a second, for all readers together."""
    async with following() as followed:
        await followed.after(1.1)
        followed.stream.asked.clear()
        await followed.after(10)
        assert followed.stream.asked.count(("records", "a")) == 20


@warped
async def test_a_backlog_is_read_faster_but_never_too_fast() -> None:
    """Full answers mean that more is waiting."""
    stream = ScriptedStream(batch=10)
    async with following(stream) as followed:
        await followed.after(1.1)
        for number in range(100):
            stream.write("a", None, event(f"t-{number}", "1"))
        stream.asked.clear()
        moves = await followed.after(3.2)
        assert len(moves) == 200
        assert 11 <= stream.asked.count(("records", "a")) <= 14


@warped
async def test_children_are_read_after_their_parent_from_their_first_record() -> None:
    """Whatever was written to them before they were found."""
    async with following() as followed:
        stream = followed.stream
        await followed.after(1.1)
        stream.write("a", None, event("t", "1"))
        stream.split("a", "b", "c")
        stream.write("b", None, event("t-b", "1"))
        stream.split("c", "d")
        stream.write("d", None, event("t-d", "1"))
        moves = await followed.after(2)
        assert moves[:2] == ["@table=t", "by_time=t"]
        assert sorted(moves[2:]) == sorted([*touching("t-b"), *touching("t-d")])
        read = [shard for operation, shard in stream.asked if operation == "records"]
        assert read.index("d") > read.index("c") > read.index("a")
        assert followed.moved == {STARTED: 1}
        stream.write("d", None, event("t-d", "2"))
        assert await followed.after(0.6) == touching("t-d")


@warped
async def test_children_that_are_not_listed_yet_are_looked_for() -> None:
    """The list may lag behind what the shards say."""
    async with following() as followed:
        stream = followed.stream
        await followed.after(1.1)
        stream.split("a", "b", listed=False)
        stream.write("b", None, event("t", "1"))
        assert await followed.after(4) == []
        assert followed.follower.behind > 3
        stream.shards_of_all["b"].listed = True
        assert await followed.after(1.2) == touching("t")
        await followed.after(1)
        assert followed.follower.behind < 1


@warped
async def test_the_ages_of_records_are_counted() -> None:
    """In classes, when their pages have been invalidated."""
    async with following() as followed:
        await followed.after(1.1)
        for age in (0.1, 0.7, 700.0):
            record = followed.stream.write("a", None, event("t", "1"))
            followed.stream.shards_of_all["a"].records[-1] = replace(record, age=age)
        await followed.after(1)
        tally = followed.follower.tally
        assert tally.ages == [1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]
        assert tally.age_sum == 0.1 + 0.7 + 700.0


@warped
async def test_another_description_of_the_table_starts_anew() -> None:
    """A new index has partitions that no record was looked at for."""
    async with following() as followed:
        await followed.after(1.1)
        table = streamed()
        schema = replace(table.schema, paths=table.schema.paths[:1])
        followed.table = replace(table, schema=schema)
        assert await followed.after(2) == ["table"]
        followed.stream.write("a", None, event("t", "1", "u"))
        assert await followed.after(0.6) == ["@table=t"]


@warped
async def test_a_table_that_nobody_has_described_yet_is_waited_for() -> None:
    """No page of it can have been cached."""
    async with following() as followed:
        followed.table = None
        await followed.after(30)
        assert followed.moved == {}
        followed.table = streamed()
        await followed.after(2)
        assert followed.moved == {STARTED: 1}


@warped
async def test_a_table_that_is_described_anew_starts_anew() -> None:
    """A new declaration is in force, and what was cached under the old one is not watched."""
    async with following() as followed:
        await followed.after(1.1)
        followed.table = None
        assert await followed.after(1.1) == ["table"]
        followed.stream.write("a", None, event("t", "1"))
        assert await followed.after(60) == []
        followed.table = streamed()
        assert await followed.after(2) == ["table"]
        assert followed.moved == {STARTED: 2, LOST: 1}
