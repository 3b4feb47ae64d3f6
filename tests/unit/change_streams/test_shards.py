"""Which shards are read, in which order and from where."""

from __future__ import annotations

import pytest

from dynamodb_processor_server.change_streams.shards import Shard, ShardCursor, Shards, Start

NOW = 100.0


def shard(shard_id: str, parent: str | None = None, *, closed: bool = False) -> Shard:
    """Return a shard."""
    return Shard(shard_id, parent, closed)


def readable(shards: Shards) -> dict[str, ShardCursor]:
    """Return the cursors that may be read, by shard."""
    return {cursor.shard_id: cursor for cursor in shards.readable()}


def test_following_begins_at_the_latest_record_of_open_shards() -> None:
    """What closed ones hold was written before."""
    shards = Shards([shard("a", closed=True), shard("b", "a"), shard("c")], NOW)
    assert {c.shard_id: c.start for c in shards.readable()} == {
        "b": Start.LATEST,
        "c": Start.LATEST,
    }
    assert not shards.incomplete
    assert shards.read_until == NOW


def test_a_child_beside_its_open_parent_is_read_from_its_first_record() -> None:
    """The list may show both as open; what the child holds comes after all of its parent."""
    shards = Shards([shard("a"), shard("b", "a")], NOW)
    assert readable(shards).keys() == {"a"}
    shards.finish(readable(shards)["a"])
    assert readable(shards)["b"].start is Start.TRIM_HORIZON


def test_children_follow_their_parent() -> None:
    """Through several generations, of which the list may tell at once."""
    shards = Shards([shard("a")], NOW)
    shards.learn(
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
    shards.learn([shard("a"), shard("z", "long-gone")])
    assert readable(shards).keys() == {"a", "z"}


def test_time_stands_still_until_the_children_are_known() -> None:
    """A shard was written to until it was closed, and from then on its children."""
    shards = Shards([shard("a"), shard("b")], NOW)
    a, b = readable(shards)["a"], readable(shards)["b"]
    a.read_until, b.read_until = NOW + 5, NOW + 9
    shards.finish(a)
    b.read_until = NOW + 60
    assert shards.incomplete
    assert shards.read_until == NOW + 5
    shards.learn([shard("a", closed=True), shard("b"), shard("c", "a")])
    assert not shards.incomplete
    assert shards.read_until == NOW + 5  # what the child holds has not been read
    readable(shards)["c"].read_until = NOW + 61
    assert shards.read_until == NOW + 60


def test_children_known_before_take_over_the_time_of_their_parent() -> None:
    """Nothing has to be looked for then."""
    shards = Shards([shard("a")], NOW)
    shards.learn([shard("a"), shard("b", "a")])
    a = readable(shards)["a"]
    a.read_until = NOW + 7
    shards.finish(a)
    assert not shards.incomplete
    assert shards.read_until == NOW + 7


def test_a_stream_without_open_shards_tells_nothing() -> None:
    """It may be new, or switched off; its time stands still, and shards are looked for."""
    for found in ([], [shard("a", closed=True)]):
        shards = Shards(found, NOW)
        assert shards.incomplete
        assert shards.read_until == NOW
        shards.learn([*found, shard("b", "a")])
        assert not shards.incomplete
        assert readable(shards)["b"].start is Start.TRIM_HORIZON


def test_shards_that_are_gone_are_forgotten() -> None:
    """Or a process that runs for months would remember all that there ever were."""
    shards = Shards([shard("a")], NOW)
    parent = "a"
    for number in range(100):
        child = f"s-{number}"
        shards.finish(readable(shards)[parent])
        shards.learn([shard(parent, closed=True), shard(child, parent)])
        parent = child
    assert len(shards._parents) <= 3
    assert len(shards) == 1


@pytest.mark.parametrize(
    ("start", "sequence", "established", "has_place"),
    [
        (Start.LATEST, None, False, True),
        (Start.LATEST, None, True, False),
        (Start.LATEST, "7", True, True),
        (Start.TRIM_HORIZON, None, True, True),
    ],
)
def test_only_the_latest_of_then_cannot_be_found_again(
    start: Start, sequence: str | None, *, established: bool, has_place: bool
) -> None:
    """Every other place has a name: a record's, or the beginning."""
    cursor = ShardCursor("a", start, NOW, sequence=sequence, established=established)
    assert cursor.has_place is has_place


def test_places_say_how_far_each_shard_was_read() -> None:
    """Read from them, shards are what they were: what ended, what is awaited, what comes next."""
    found = [Shard("a", None, True), Shard("b", "a", False), Shard("c", None, False)]
    shards = Shards(found, 0.0)
    unnamed = shards.places
    assert unnamed is None  # the latest record of a shard has no name
    for cursor in list(shards.readable()):
        cursor.sequence, cursor.established, cursor.read_until = f"{cursor.shard_id}-7", True, 5.0
    shards.learn([*found, Shard("d", "b", False)])
    places = shards.places
    assert places is not None
    assert places == {"a": "ended", "b": "b-7", "c": "c-7", "d": "first"}
    again = Shards.resume([*found, Shard("d", "b", False)], places, 5.0)
    assert again.places == places
    assert again.established
    assert again.read_until == 5.0
    reading = {cursor.shard_id: cursor for cursor in again.readable()}
    assert {name: cursor.sequence for name, cursor in reading.items()} == {"b": "b-7", "c": "c-7"}
    again.finish(reading["c"])
    awaiting = Shards.resume(found, again.places or {}, 6.0)
    assert awaiting.incomplete
    assert awaiting.places == places | {"c": "awaited"}
    gone = Shards.resume([Shard("c", None, False)], places, 5.0)
    assert {cursor.shard_id for cursor in gone.readable()} == {"b", "c", "d"}
