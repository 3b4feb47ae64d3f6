"""The claims of a consumer: until which time the writes to its table have been invalidated."""

from __future__ import annotations

import asyncio

from dynamodb_processor_server.change_streams.consumer import BEHIND, NO_IMAGES
from dynamodb_processor_server.errors import BackendUnavailable
from tests.support.warped_time import warped
from tests.unit.change_streams.scripted_stream import (
    POLL_SETTINGS,
    ConsumedStream,
    ScriptedStream,
    consuming,
    event,
    table_with_stream,
)


def claimed_until(consumed: ConsumedStream) -> float:
    """Return the latest time of a claim."""
    return max(until for until, _ in consumed.cache.claims)


def age_of(consumed: ConsumedStream) -> float:
    """Return the seconds since the latest time of a claim."""
    return asyncio.get_running_loop().time() - claimed_until(consumed)


@warped
async def test_the_first_claim_is_made_when_the_table_has_been_invalidated() -> None:
    """Nothing is known before; the claim is of the time at which the invalidation began."""
    async with consuming() as consumed:
        consumed.stream.fault = lambda *_: BackendUnavailable("not yet")
        await consumed.after(3)
        assert consumed.cache.claims == []
        consumed.stream.fault = lambda *_: None
        invalidations = await consumed.after(5)
        assert invalidations == ["table"]
        (until, made), *_ = consumed.cache.claims
        assert made == 1
        assert until <= asyncio.get_running_loop().time()


@warped
async def test_a_claim_follows_the_reads_of_the_stream_at_the_assumed_delay() -> None:
    """Records of later writes may not have appeared when the stream was read."""
    async with consuming() as consumed:
        await consumed.after(10)
        assert POLL_SETTINGS.delay <= age_of(consumed) <= POLL_SETTINGS.delay + 0.51


@warped
async def test_no_claim_advances_while_the_stream_is_not_read() -> None:
    """When the lag is too large the table is invalidated, and that is claimed."""
    async with consuming() as consumed:
        await consumed.after(5)
        until = claimed_until(consumed)
        consumed.stream.fault = lambda *_: BackendUnavailable("throttled")
        await consumed.after(9)
        assert claimed_until(consumed) == until
        assert await consumed.after(5) == ["table"]
        assert consumed.table_invalidations[BEHIND] == 1
        assert until + 9 < claimed_until(consumed)


@warped
async def test_no_claim_advances_while_a_shard_is_missing() -> None:
    """Nobody knows where the writes of an ended shard go."""
    async with consuming() as consumed:
        await consumed.after(5)
        consumed.stream.split("a", "b", listed=False)
        await consumed.after(1)
        until = claimed_until(consumed)
        await consumed.after(5)
        assert claimed_until(consumed) == until
        consumed.stream.shards_of_all["b"].listed = True
        await consumed.after(3)
        assert age_of(consumed) < POLL_SETTINGS.delay + 0.51


@warped
async def test_no_claim_advances_while_a_shard_that_ended_before_the_start_has_no_children() -> (
    None
):
    """Its children have records, and are not listed yet. The lag does not wait for them."""
    stream = ScriptedStream()
    stream.open("other")
    stream.split("a", "b", listed=False)
    async with consuming(stream) as consumed:
        await consumed.after(5)
        ((_, made),) = consumed.cache.claims
        assert made == 1, "the table was invalidated"
        assert consumed.consumer.lag < 1
        stream.shards_of_all["b"].listed = True
        await consumed.after(12)
        assert age_of(consumed) < POLL_SETTINGS.delay + 0.51


@warped
async def test_a_successor_claims_nothing_before_it_has_read_every_shard() -> None:
    """The time of the checkpoint is not exact: Redis may have stored it late."""
    stream = ScriptedStream()
    stream.open("b")
    async with consuming(stream) as first:
        await first.after(2)
        for shard in ("a", "b"):
            stream.write(shard, None, event("t", shard))
        await first.after(2)
        checkpoint = first.consumer.checkpoint
    assert checkpoint is not None
    stream.fault = lambda _, shard: BackendUnavailable("throttled") if shard == "b" else None
    async with consuming(stream, resume=checkpoint) as second:
        await second.after(5)
        assert second.cache.claims == []
        stream.fault = lambda *_: None
        await second.after(5)
        assert age_of(second) < POLL_SETTINGS.delay + 0.51
        assert second.table_invalidations == {}


@warped
async def test_records_without_images_are_claimed_after_an_invalidation_of_the_table() -> None:
    """The whole table is invalidated, so nothing of these writes is missed."""
    async with consuming() as consumed:
        await consumed.after(5)
        began = asyncio.get_running_loop().time()
        consumed.stream.write("a", None, event("t", "1"), "MODIFY")
        assert await consumed.after(0.6) == ["table"]
        assert consumed.table_invalidations[NO_IMAGES] == 1
        assert claimed_until(consumed) >= began


@warped
async def test_a_table_that_is_not_described_claims_nothing() -> None:
    """No consumer watches its writes."""
    async with consuming() as consumed:
        consumed.table = None
        await consumed.after(30)
        assert consumed.cache.claims == []


@warped
async def test_claims_are_times_of_the_machines_clock() -> None:
    """The consumer measures with a clock that never goes back, and that has another zero."""
    epoch = 1_800_000_000.0
    async with consuming(epoch=epoch) as consumed:
        await consumed.after(10)
        assert POLL_SETTINGS.delay <= age_of(consumed) + epoch <= POLL_SETTINGS.delay + 0.51


@warped
async def test_a_table_without_a_stream_is_claimed_when_it_is_invalidated() -> None:
    """That happens whenever the lag is too large."""
    async with consuming(table=table_with_stream(None)) as consumed:
        await consumed.after(30)
        assert consumed.table_invalidations[BEHIND] == len(consumed.cache.claims) == 2
        assert age_of(consumed) < POLL_SETTINGS.max_lag + 1.1
