"""A consumer under failures: when it retries, and when it invalidates the whole table."""

from __future__ import annotations

import asyncio

from dynamodb_processor_server.change_streams.consumer import (
    BEHIND,
    LOST,
    NO_IMAGES,
    STARTED,
)
from dynamodb_processor_server.change_streams.port import RecordsLost
from dynamodb_processor_server.errors import BackendRefused, BackendUnavailable
from tests.support.warped_time import warped
from tests.unit.change_streams.scripted_stream import (
    ScriptedStream,
    consuming,
    event,
    invalidations_of,
    table_with_stream,
)
from tests.unit.query.tables import make_table


@warped
async def test_an_expired_iterator_continues_after_the_last_record() -> None:
    """No record is missed, and the table is not invalidated."""
    async with consuming() as consumed:
        await consumed.after(1.1)
        consumed.stream.write("a", None, event("t", "1"))
        await consumed.after(1)
        consumed.stream.expire_iterators()
        consumed.stream.write("a", None, event("t", "2", "u"))
        assert sorted(await consumed.after(2)) == invalidations_of("t", "u")
        assert consumed.table_invalidations == {STARTED: 1}


@warped
async def test_an_iterator_that_expires_before_its_first_record_loses_records() -> None:
    """Its "latest" cannot be found again: the table is invalidated, and again at the start."""
    async with consuming() as consumed:
        await consumed.after(1.1)
        consumed.stream.expire_iterators()
        consumed.stream.write("a", None, event("t", "1"))
        assert "table" in await consumed.after(3)
        assert consumed.table_invalidations == {STARTED: 2, LOST: 1}


@warped
async def test_trimmed_records_invalidate_the_table() -> None:
    """It is invalidated at once, and once more when the consumer has started again."""
    async with consuming() as consumed:
        stream = consumed.stream
        await consumed.after(1.1)
        stream.write("a", None, event("t", "1"))
        stream.trim("a")
        assert await consumed.after(2) == ["table", "table"]
        assert consumed.table_invalidations == {STARTED: 2, LOST: 1}
        stream.write("a", None, event("t", "2"))
        assert await consumed.after(1) == invalidations_of("t")


@warped
async def test_records_without_their_images_invalidate_the_table() -> None:
    """With another view type the keys alone do not show an item's index partitions."""
    async with consuming() as consumed:
        await consumed.after(1.1)
        consumed.stream.write("a", None, event("t", "1"))
        consumed.stream.write("a", None, event("t", "2"), "MODIFY")
        consumed.stream.write("a", None, event("t", "3"))
        await consumed.after(1)
        assert consumed.table_invalidations == {STARTED: 1, NO_IMAGES: 1}


@warped
async def test_a_short_failure_only_delays_invalidations() -> None:
    """The same read is retried with growing pauses; throttling is such a failure."""
    async with consuming() as consumed:
        stream = consumed.stream
        await consumed.after(1.1)
        stream.fault = lambda *_: BackendUnavailable("throttled")
        stream.write("a", None, event("t", "1", "u"))
        assert await consumed.after(6) == []
        asked = stream.asked.count(("records", "a"))
        assert consumed.consumer.stats.failures <= 6
        stream.fault = lambda *_: None
        assert sorted(await consumed.after(5.3)) == invalidations_of("t", "u")
        assert stream.asked.count(("records", "a")) > asked
        assert consumed.table_invalidations == {STARTED: 1}


@warped
async def test_a_failing_shard_does_not_delay_the_others() -> None:
    """Each shard backs off by itself."""
    stream = ScriptedStream()
    stream.split("a", "b", "c")
    async with consuming(stream) as consumed:
        await consumed.after(1.1)
        stream.fault = lambda _, shard: BackendUnavailable("throttled") if shard == "b" else None
        await consumed.after(3)
        stream.write("c", None, event("t", "1"))
        assert await consumed.after(0.6) == invalidations_of("t")


@warped
async def test_a_long_failure_invalidates_the_table_repeatedly() -> None:
    """No page of unknown validity outlives `max_lag`; after that the consumer starts again."""
    async with consuming() as consumed:
        stream = consumed.stream
        await consumed.after(1.1)
        stream.fault = lambda *_: BackendUnavailable("unreachable")
        for _ in range(5):
            assert await consumed.after(11.2) == ["table"]
        assert consumed.consumer.lag > 50
        stream.write("a", None, event("t", "1"))
        stream.fault = lambda *_: None
        assert await consumed.after(6) == ["table"]
        assert consumed.consumer.lag < 1
        assert consumed.table_invalidations == {STARTED: 2, BEHIND: 5}
        stream.write("a", None, event("t", "2"))
        assert await consumed.after(0.6) == invalidations_of("t")


@warped
async def test_a_backlog_that_lasts_too_long_is_skipped() -> None:
    """The table is invalidated instead, so that the backlog no longer matters."""
    stream = ScriptedStream(batch=1)
    async with consuming(stream) as consumed:
        await consumed.after(1.1)
        for number in range(1_000):
            stream.write("a", None, event(f"t-{number}", "1"))
        invalidations = await consumed.after(12)
        assert invalidations.count("table") == 2
        assert consumed.table_invalidations == {STARTED: 2, BEHIND: 1}
        assert await consumed.after(5) == []
        assert consumed.consumer.lag < 1


@warped
async def test_a_table_without_a_stream_is_invalidated_repeatedly() -> None:
    """Until it has a stream, its cached pages are never older than `max_lag`."""
    async with consuming(table=make_table()) as consumed:
        assert await consumed.after(30) == ["table"] * 2
        assert consumed.stream.asked == []
        consumed.table = table_with_stream()
        assert await consumed.after(2) == ["table"]
        assert consumed.table_invalidations == {BEHIND: 2, STARTED: 1}
        assert await consumed.after(30) == []


@warped
async def test_a_disabled_stream_is_detected_before_the_catalog_shows_it() -> None:
    """Its shards end, and it has no others."""
    async with consuming() as consumed:
        await consumed.after(1.1)
        consumed.stream.split("a")
        assert (await consumed.after(40)).count("table") >= 3
        assert consumed.consumer.lag > 10


@warped
async def test_a_stream_that_no_longer_exists_is_retried() -> None:
    """The catalog will name its successor; until then requests become ever rarer."""
    async with consuming() as consumed:
        await consumed.after(1.1)
        consumed.stream.fault = lambda *_: RecordsLost("the stream does not exist")
        consumed.stream.asked.clear()
        invalidations = await consumed.after(60)
        assert 5 <= len(invalidations) <= 7
        assert len(consumed.stream.asked) < 30
        consumed.stream.fault = lambda *_: None
        consumed.table = table_with_stream("another")
        assert await consumed.after(6) == ["table"]
        assert consumed.consumer.lag < 1


@warped
async def test_consumption_continues_after_a_refusal() -> None:
    """Credentials may be corrected while the server runs."""
    stream = ScriptedStream()
    stream.fault = lambda *_: BackendRefused("AccessDenied")
    async with consuming(stream) as consumed:
        assert await consumed.after(25) == ["table"] * 2
        stream.fault = lambda *_: None
        assert await consumed.after(5) == ["table"]
        assert consumed.consumer.lag < 1


@warped
async def test_consumption_continues_after_a_defect() -> None:
    """It is logged, the table is invalidated, and the consumer starts again."""
    async with consuming() as consumed:
        await consumed.after(1.1)
        consumed.stream.fault = lambda *_: ZeroDivisionError("a defect")
        await consumed.after(0.6)
        consumed.stream.fault = lambda *_: None
        await consumed.after(3)
        assert consumed.table_invalidations == {STARTED: 2, LOST: 1}
        consumed.stream.fault = lambda *_: ZeroDivisionError("a lasting one")
        assert (await consumed.after(60)).count("table") >= 5


@warped
async def test_records_are_processed_before_the_cursor_advances() -> None:
    """An invalidation that fails is made again."""
    async with consuming() as consumed:
        await consumed.after(1.1)
        cache, has_failed = consumed.cache, asyncio.Event()
        invalidate = cache.invalidate_partitions

        async def fail_once(*args: object) -> None:
            cache.invalidate_partitions = invalidate  # type: ignore[method-assign]
            has_failed.set()
            raise BackendUnavailable("the shared cache is unavailable")

        cache.invalidate_partitions = fail_once  # type: ignore[assignment, method-assign]
        consumed.stream.write("a", None, event("t", "1"))
        assert await consumed.after(2) == invalidations_of("t")
        assert has_failed.is_set()
