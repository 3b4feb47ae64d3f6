"""A follower when things go wrong: what it makes up for, and when it gives up on details."""

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
    event,
    following,
    streamed,
    touching,
)
from tests.unit.query.tables import make_table


@warped
async def test_an_expired_iterator_goes_on_after_the_last_record() -> None:
    """Nothing is missed and nothing is moved for it."""
    async with following() as followed:
        await followed.after(1.1)
        followed.stream.write("a", None, event("t", "1"))
        await followed.after(1)
        followed.stream.expire_iterators()
        followed.stream.write("a", None, event("t", "2", "u"))
        assert sorted(await followed.after(2)) == touching("t", "u")
        assert followed.moved == {STARTED: 1}


@warped
async def test_an_iterator_that_expires_before_its_first_record_has_lost_its_place() -> None:
    """Where "latest" was then cannot be found again: the table is moved, and again at the start."""
    async with following() as followed:
        await followed.after(1.1)
        followed.stream.expire_iterators()
        followed.stream.write("a", None, event("t", "1"))
        assert "table" in await followed.after(3)
        assert followed.moved == {STARTED: 2, LOST: 1}


@warped
async def test_trimmed_records_move_the_table() -> None:
    """At once, and once more when the follower has its place again."""
    async with following() as followed:
        stream = followed.stream
        await followed.after(1.1)
        stream.write("a", None, event("t", "1"))
        stream.trim("a")
        assert await followed.after(2) == ["table", "table"]
        assert followed.moved == {STARTED: 2, LOST: 1}
        stream.write("a", None, event("t", "2"))
        assert await followed.after(1) == touching("t")


@warped
async def test_records_without_their_images_move_the_table() -> None:
    """The stream's view type is another one: the keys alone do not say what indexes held."""
    async with following() as followed:
        await followed.after(1.1)
        followed.stream.write("a", None, event("t", "1"))
        followed.stream.write("a", None, event("t", "2"), "MODIFY")
        followed.stream.write("a", None, event("t", "3"))
        await followed.after(1)
        assert followed.moved == {STARTED: 1, NO_IMAGES: 1}


@warped
async def test_a_short_failure_costs_nothing_but_time() -> None:
    """The same place is read again, later and later; being throttled is such a failure."""
    async with following() as followed:
        stream = followed.stream
        await followed.after(1.1)
        stream.fault = lambda *_: BackendUnavailable("throttled")
        stream.write("a", None, event("t", "1", "u"))
        assert await followed.after(6) == []
        asked = stream.asked.count(("records", "a"))
        assert followed.follower.tally.failures <= 6
        stream.fault = lambda *_: None
        assert sorted(await followed.after(5.3)) == touching("t", "u")
        assert stream.asked.count(("records", "a")) > asked
        assert followed.moved == {STARTED: 1}


@warped
async def test_a_failing_shard_does_not_hold_up_the_others() -> None:
    """Each has its own pace."""
    stream = ScriptedStream()
    stream.split("a", "b", "c")
    async with following(stream) as followed:
        await followed.after(1.1)
        stream.fault = lambda _, shard: BackendUnavailable("throttled") if shard == "b" else None
        await followed.after(3)
        stream.write("c", None, event("t", "1"))
        assert await followed.after(0.6) == touching("t")


@warped
async def test_a_long_failure_moves_the_table_again_and_again() -> None:
    """No page outlives `max_lag` of which nobody knows; then following starts anew."""
    async with following() as followed:
        stream = followed.stream
        await followed.after(1.1)
        stream.fault = lambda *_: BackendUnavailable("unreachable")
        for _ in range(5):
            assert await followed.after(11.2) == ["table"]
        assert followed.follower.behind > 50
        stream.write("a", None, event("t", "1"))
        stream.fault = lambda *_: None
        assert await followed.after(6) == ["table"]
        assert followed.follower.behind < 1
        assert followed.moved == {STARTED: 2, BEHIND: 5}
        stream.write("a", None, event("t", "2"))
        assert await followed.after(0.6) == touching("t")


@warped
async def test_a_backlog_that_lasts_too_long_is_skipped() -> None:
    """The table is moved instead, so that nothing of the backlog matters."""
    stream = ScriptedStream(batch=1)
    async with following(stream) as followed:
        await followed.after(1.1)
        for number in range(1_000):
            stream.write("a", None, event(f"t-{number}", "1"))
        moves = await followed.after(12)
        assert moves.count("table") == 2
        assert followed.moved == {STARTED: 2, BEHIND: 1}
        assert await followed.after(5) == []
        assert followed.follower.behind < 1


@warped
async def test_a_table_without_a_stream_is_moved_again_and_again() -> None:
    """Until it has one: what its readers see is never older than `max_lag`."""
    async with following(table=make_table()) as followed:
        assert await followed.after(30) == ["table"] * 2
        assert followed.stream.asked == []
        followed.table = streamed()
        assert await followed.after(2) == ["table"]
        assert followed.moved == {BEHIND: 2, STARTED: 1}
        assert await followed.after(30) == []


@warped
async def test_a_stream_switched_off_is_noticed_before_the_catalog_tells() -> None:
    """Its shards end, and no others follow."""
    async with following() as followed:
        await followed.after(1.1)
        followed.stream.split("a")
        assert (await followed.after(40)).count("table") >= 3
        assert followed.follower.behind > 10


@warped
async def test_a_stream_that_is_gone_is_waited_for() -> None:
    """The catalog will say which one there is now; until then it is asked for ever less."""
    async with following() as followed:
        await followed.after(1.1)
        followed.stream.fault = lambda *_: RecordsLost("the stream does not exist")
        followed.stream.asked.clear()
        moves = await followed.after(60)
        assert 5 <= len(moves) <= 7
        assert len(followed.stream.asked) < 30
        followed.stream.fault = lambda *_: None
        followed.table = streamed("another")
        assert await followed.after(6) == ["table"]
        assert followed.follower.behind < 1


@warped
async def test_a_refusal_is_no_end() -> None:
    """Credentials may be mended while the server runs."""
    stream = ScriptedStream()
    stream.fault = lambda *_: BackendRefused("AccessDenied")
    async with following(stream) as followed:
        assert await followed.after(25) == ["table"] * 2
        stream.fault = lambda *_: None
        assert await followed.after(5) == ["table"]
        assert followed.follower.behind < 1


@warped
async def test_a_defect_is_no_end_either() -> None:
    """It is logged, the table is moved, and following starts anew."""
    async with following() as followed:
        await followed.after(1.1)
        followed.stream.fault = lambda *_: ZeroDivisionError("a defect")
        await followed.after(0.6)
        followed.stream.fault = lambda *_: None
        await followed.after(3)
        assert followed.moved == {STARTED: 2, LOST: 1}
        followed.stream.fault = lambda *_: ZeroDivisionError("a lasting one")
        assert (await followed.after(60)).count("table") >= 5


@warped
async def test_records_are_dealt_with_before_their_place_is_left() -> None:
    """An invalidation that cannot be told is told again."""
    async with following() as followed:
        await followed.after(1.1)
        cache, told_first = followed.cache, asyncio.Event()
        move = cache.invalidate_partitions

        async def fail_once(*args: object) -> None:
            cache.invalidate_partitions = move  # type: ignore[method-assign]
            told_first.set()
            raise BackendUnavailable("the tier is away")

        cache.invalidate_partitions = fail_once  # type: ignore[assignment, method-assign]
        followed.stream.write("a", None, event("t", "1"))
        assert await followed.after(2) == touching("t")
        assert told_first.is_set()
