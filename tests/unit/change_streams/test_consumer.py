"""A consumer of a scripted stream: its invalidations, their order and their delay."""

from __future__ import annotations

from dataclasses import replace

from dynamodb_processor_server.change_streams.consumer import LOST, STARTED
from tests.support.warped_time import warped
from tests.unit.change_streams.scripted_stream import (
    ScriptedStream,
    consuming,
    event,
    invalidations_of,
    table_with_stream,
)


@warped
async def test_the_table_is_invalidated_when_consumption_starts() -> None:
    """Earlier writes are unknown; later ones are known from records."""
    stream = ScriptedStream()
    stream.write("a", None, event("t", "0"))
    async with consuming(stream) as consumed:
        assert await consumed.after(2) == ["table"]
        assert consumed.table_invalidations == {STARTED: 1}
        stream.write("a", event("t", "1", "u-1"), event("t", "1", "u-2"))
        assert sorted(await consumed.after(0.6)) == invalidations_of("t", "u-1", "u-2")
        assert await consumed.after(120) == []
        assert consumed.consumer.lag < 1


@warped
async def test_writes_before_the_first_read_are_covered_by_the_first_invalidation() -> None:
    """That holds whether "latest" is set when the iterator is made or when it is first used."""
    for late in (False, True):
        stream = ScriptedStream(late_latest=late)

        def write(operation: str, _: str, stream: ScriptedStream = stream) -> None:
            if operation == "records" and not stream.written:
                stream.write("a", None, event("t", "1"))

        stream.fault = write
        async with consuming(stream) as consumed:
            assert (await consumed.after(2))[-1] == "table"


@warped
async def test_a_shard_is_read_at_the_given_interval() -> None:
    """DynamoDB answers five reads of a shard a second, for all readers together."""
    async with consuming() as consumed:
        await consumed.after(1.1)
        consumed.stream.asked.clear()
        await consumed.after(10)
        assert consumed.stream.asked.count(("records", "a")) == 20


@warped
async def test_a_backlog_is_read_faster_but_never_too_fast() -> None:
    """A full response means that more records are waiting."""
    stream = ScriptedStream(batch=10)
    async with consuming(stream) as consumed:
        await consumed.after(1.1)
        for number in range(100):
            stream.write("a", None, event(f"t-{number}", "1"))
        stream.asked.clear()
        invalidations = await consumed.after(3.2)
        assert len(invalidations) == 200
        assert 11 <= stream.asked.count(("records", "a")) <= 14


@warped
async def test_children_are_read_after_their_parent_from_their_first_record() -> None:
    """Records that were written before a child was listed are read too."""
    async with consuming() as consumed:
        stream = consumed.stream
        await consumed.after(1.1)
        stream.write("a", None, event("t", "1"))
        stream.split("a", "b", "c")
        stream.write("b", None, event("t-b", "1"))
        stream.split("c", "d")
        stream.write("d", None, event("t-d", "1"))
        invalidations = await consumed.after(2)
        assert invalidations[:2] == ["@table=t", "by_time=t"]
        assert sorted(invalidations[2:]) == sorted(
            [*invalidations_of("t-b"), *invalidations_of("t-d")]
        )
        read = [shard for operation, shard in stream.asked if operation == "records"]
        assert read.index("d") > read.index("c") > read.index("a")
        assert consumed.table_invalidations == {STARTED: 1}
        stream.write("d", None, event("t-d", "2"))
        assert await consumed.after(0.6) == invalidations_of("t-d")


@warped
async def test_the_children_of_a_shard_are_found_without_a_full_listing() -> None:
    """All shards are listed where the endpoint cannot filter, and every ten seconds."""
    for filters in (True, False):
        stream = ScriptedStream()
        stream.filters = filters
        async with consuming(stream) as consumed:
            await consumed.after(1.1)
            stream.asked.clear()
            stream.split("a", "b", "c")
            stream.write("c", None, event("t", "1"))
            assert await consumed.after(1) == invalidations_of("t")
            listings = [operation for operation, _ in stream.asked if operation != "records"]
            found = ["children"] if filters else ["shards"]
            assert listings == [*found, "iterator", "iterator"]
            stream.asked.clear()
            await consumed.after(10)
            assert stream.asked.count(("shards", "")) == 1
            assert consumed.table_invalidations == {STARTED: 1}


@warped
async def test_children_that_are_not_listed_yet_are_awaited() -> None:
    """The list of shards may lag behind the end of their parent."""
    async with consuming() as consumed:
        stream = consumed.stream
        await consumed.after(1.1)
        stream.split("a", "b", listed=False)
        stream.write("b", None, event("t", "1"))
        assert await consumed.after(4) == []
        assert consumed.consumer.lag > 3
        stream.shards_of_all["b"].listed = True
        assert await consumed.after(1.2) == invalidations_of("t")
        await consumed.after(1)
        assert consumed.consumer.lag < 1


@warped
async def test_the_ages_of_records_are_counted() -> None:
    """The histogram counts them when their pages have been invalidated."""
    async with consuming() as consumed:
        await consumed.after(1.1)
        for age in (0.1, 0.7, 700.0):
            record = consumed.stream.write("a", None, event("t", "1"))
            consumed.stream.shards_of_all["a"].records[-1] = replace(record, age=age)
        await consumed.after(1)
        stats = consumed.consumer.stats
        assert stats.ages == [1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]
        assert stats.age_sum == 0.1 + 0.7 + 700.0


@warped
async def test_another_description_of_the_table_starts_anew() -> None:
    """A new index has partitions for which no record was examined."""
    async with consuming() as consumed:
        await consumed.after(1.1)
        table = table_with_stream()
        schema = replace(table.schema, paths=table.schema.paths[:1])
        consumed.table = replace(table, schema=schema)
        assert await consumed.after(2) == ["table"]
        consumed.stream.write("a", None, event("t", "1", "u"))
        assert await consumed.after(0.6) == ["@table=t"]


@warped
async def test_a_table_that_is_not_described_yet_is_awaited() -> None:
    """No page of it can be in the cache."""
    async with consuming() as consumed:
        consumed.table = None
        await consumed.after(30)
        assert consumed.table_invalidations == {}
        consumed.table = table_with_stream()
        await consumed.after(2)
        assert consumed.table_invalidations == {STARTED: 1}


@warped
async def test_a_table_that_is_described_anew_starts_anew() -> None:
    """A new configuration applies, and no consumer watched the pages cached under the old one."""
    async with consuming() as consumed:
        await consumed.after(1.1)
        consumed.table = None
        assert await consumed.after(1.1) == ["table"]
        consumed.stream.write("a", None, event("t", "1"))
        assert await consumed.after(60) == []
        consumed.table = table_with_stream()
        assert await consumed.after(2) == ["table"]
        assert consumed.table_invalidations == {STARTED: 2, LOST: 1}
