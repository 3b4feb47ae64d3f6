"""The shards of a stream that are read, their order, and their first record."""

from __future__ import annotations

import pytest

from dynamodb_processor_server.change_streams.shards import (
    Resumption,
    Shard,
    ShardCursor,
    Shards,
    Start,
)

NOW = 100.0


def shard(shard_id: str, parent: str | None = None, *, closed: bool = False) -> Shard:
    """Return a shard."""
    return Shard(shard_id, parent, closed)


def readable(shards: Shards) -> dict[str, ShardCursor]:
    """Return the cursors that may be read, by shard."""
    return {cursor.shard_id: cursor for cursor in shards.readable()}


def test_reading_starts_with_the_latest_record_of_open_shards() -> None:
    """The records of closed shards were written before."""
    shards = Shards([shard("a", closed=True), shard("b", "a"), shard("c")], NOW)
    assert {c.shard_id: c.start for c in shards.readable()} == {
        "b": Start.LATEST,
        "c": Start.LATEST,
    }
    assert not shards.incomplete
    assert shards.read_until == NOW


def test_a_child_beside_its_open_parent_is_read_from_its_first_record() -> None:
    """The list may show both as open; the child's records come after all of its parent's."""
    shards = Shards([shard("a"), shard("b", "a")], NOW)
    assert readable(shards).keys() == {"a"}
    shards.finish(readable(shards)["a"])
    assert readable(shards)["b"].start is Start.TRIM_HORIZON


def test_children_follow_their_parent() -> None:
    """That holds through several generations, which one listing may show together."""
    shards = Shards([shard("a")], NOW)
    shards.update(
        [
            shard("a", closed=True),
            shard("b", "a", closed=True),
            shard("c", "b"),
            shard("d", "b"),
        ]
    )
    for expected in ("a", "b"):
        (cursor,) = readable(shards).values()
        assert cursor.shard_id == expected
        shards.finish(cursor)
    found = readable(shards)
    assert found.keys() == {"c", "d"}
    assert {cursor.start for cursor in found.values()} == {Start.TRIM_HORIZON}


def test_a_shard_whose_parent_is_gone_is_read() -> None:
    """The list forgets shards after a day."""
    shards = Shards([shard("a")], NOW)
    shards.update([shard("a"), shard("z", "long-gone")])
    assert readable(shards).keys() == {"a", "z"}


def test_time_stands_still_until_the_children_are_known() -> None:
    """A shard gets writes until it is closed; from then on its children get them."""
    shards = Shards([shard("a"), shard("b")], NOW)
    a, b = readable(shards)["a"], readable(shards)["b"]
    a.read_until, b.read_until = NOW + 5, NOW + 9
    shards.finish(a)
    b.read_until = NOW + 60
    assert shards.incomplete
    assert shards.read_until == NOW + 5
    shards.update([shard("a", closed=True), shard("b"), shard("c", "a")])
    assert not shards.incomplete
    assert shards.read_until == NOW + 5  # the child's records have not been read
    readable(shards)["c"].read_until = NOW + 61
    assert shards.read_until == NOW + 60


def test_children_known_before_take_over_the_time_of_their_parent() -> None:
    """No listing is due then."""
    shards = Shards([shard("a")], NOW)
    shards.update([shard("a"), shard("b", "a")])
    a = readable(shards)["a"]
    a.read_until = NOW + 7
    shards.finish(a)
    assert not shards.incomplete
    assert shards.read_until == NOW + 7


def test_a_stream_without_open_shards_is_incomplete() -> None:
    """It may be new or disabled; its time stands still, and shards are listed again."""
    for found in ([], [shard("a", closed=True)]):
        shards = Shards(found, NOW)
        assert shards.incomplete
        assert shards.read_until == NOW
        shards.update([*found, shard("b", "a")])
        assert not shards.incomplete
        assert readable(shards)["b"].start is Start.TRIM_HORIZON


def test_shards_that_are_gone_are_forgotten() -> None:
    """A process that runs for months does not keep every shard that ever existed."""
    shards = Shards([shard("a")], NOW)
    parent = "a"
    for number in range(100):
        child = f"s-{number}"
        shards.finish(readable(shards)[parent])
        shards.update([shard(parent, closed=True), shard(child, parent)])
        parent = child
    assert len(shards._parents) <= 3
    assert shards._cursors.keys() == {parent}


@pytest.mark.parametrize(
    ("start", "sequence", "established", "can_resume"),
    [
        (Start.LATEST, None, False, True),
        (Start.LATEST, None, True, False),
        (Start.LATEST, "7", True, True),
        (Start.TRIM_HORIZON, None, True, True),
    ],
)
def test_only_an_earlier_latest_record_cannot_be_found_again(
    start: Start, sequence: str | None, *, established: bool, can_resume: bool
) -> None:
    """A cursor can resume after a record, or with the first record of its shard."""
    cursor = ShardCursor("a", start, NOW, sequence=sequence, established=established)
    assert cursor.can_resume is can_resume


def test_progress_says_how_far_each_shard_was_read() -> None:
    """Shards resumed from it are the same: the ended, the awaited, and the next record of each."""
    found = [Shard("a", None, True), Shard("b", "a", False), Shard("c", None, False)]
    shards = Shards(found, 0.0)
    # No sequence number names the start of a shard that is read from LATEST.
    assert shards.progress == {"a": "ended", "b": None, "c": None}
    for cursor in list(shards.readable()):
        cursor.sequence, cursor.established, cursor.read_until = f"{cursor.shard_id}-7", True, 5.0
    shards.update([*found, Shard("d", "b", False)])
    progress = shards.progress
    assert progress == {"a": "ended", "b": "b-7", "c": "c-7", "d": "first"}
    resumption = Resumption(progress, 5.0, since=1_005.0)
    again = Shards.resume([*found, Shard("d", "b", False)], resumption)
    assert again.progress == progress
    assert again.established
    assert again.read_until == 5.0
    reading = {cursor.shard_id: cursor for cursor in again.readable()}
    assert {name: cursor.sequence for name, cursor in reading.items()} == {"b": "b-7", "c": "c-7"}
    again.finish(reading["c"])
    awaiting = Shards.resume(found, Resumption(again.progress, 6.0, since=1_006.0))
    assert awaiting.incomplete
    assert awaiting.progress == progress | {"c": "awaited"}
    gone = Shards.resume([Shard("c", None, False)], resumption)
    assert {cursor.shard_id for cursor in gone.readable()} == {"b", "c", "d"}


def test_a_shard_without_a_record_is_resumed_at_a_time() -> None:
    """It counts as established, and its place is handed on until it has had a record."""
    shards = Shards.resume([shard("a")], Resumption({"a": None}, 5.0, since=1_005.0))
    assert shards.established
    assert shards.read_until == 5.0
    cursor = readable(shards)["a"]
    assert (cursor.start, cursor.since) == (Start.AT_TIMESTAMP, 1_005.0)
    cursor.established = True
    assert cursor.can_resume
    assert shards.progress == {"a": None}
    cursor.sequence = "7"
    assert shards.progress == {"a": "7"}


def test_children_are_added_without_forgetting_other_shards() -> None:
    """Only a full listing shows that a shard no longer exists."""
    shards = Shards([shard("a"), shard("z", closed=True)], NOW)
    shards.finish(readable(shards)["a"])
    assert shards.childless == {"a"}
    shards.add([shard("b", "a")])
    assert not shards.childless
    assert readable(shards).keys() == {"b"}
    assert shards.progress == {"a": "ended", "z": "ended", "b": "first"}
    shards.update([shard("b", "a")])
    assert shards.progress == {"b": "first"}
