"""Generations: what holds one sees at once that it is over, and losing one costs only misses."""

from __future__ import annotations

from collections.abc import Hashable

from hypothesis import given
from hypothesis import strategies as st

from dynamodb_processor_server.cache.generations import Generations
from dynamodb_processor_server.snapshot import GenerationSnapshot


class World:
    """Generations with a clock that is set by hand."""

    def __init__(self, most: int = 100) -> None:
        self.now = 1_000.0
        self.generations = Generations(lambda: self.now, most)

    def begin(self, *tags: Hashable) -> GenerationSnapshot:
        """Begin a read."""
        return self.generations.begin(tags)

    def move(self, *tags: Hashable) -> None:
        """Invalidate."""
        self.generations.invalidate(tags)


def test_reads_of_one_time_are_of_the_same_generations() -> None:
    """Until a tag moves: then only those that have it are over."""
    world = World()
    first, second, other = world.begin("a", "b"), world.begin("a", "b"), world.begin("b")
    assert first.generations == second.generations
    world.move("a")
    assert not first.is_current
    assert not second.is_current
    assert other.is_current
    third = world.begin("a", "b")
    assert third.is_current
    assert third.generations != first.generations
    assert third.generations[1] is first.generations[1]


def test_a_tag_that_nobody_read_can_be_moved() -> None:
    """Who reads it afterwards knows since when."""
    world = World()
    world.move("a")
    world.now += 2.0
    reading = world.begin("a", "b")
    assert reading.is_current
    assert reading.began == 1_002.0
    assert reading.is_past_quarantine(2.0)
    assert not reading.is_past_quarantine(2.1)
    assert world.begin("b").is_past_quarantine(1e9), "it has never been moved"


def test_a_lost_generation_counts_as_moved() -> None:
    """And the tag's next one as moved when the latest of the lost ones was."""
    world = World(most=2)
    world.move("a")
    reading = world.begin("a")
    world.now += 1.0
    world.begin("b", "c")
    assert len(world.generations) == 2
    assert not reading.is_current
    again = world.begin("a")
    assert again.is_current
    assert again.is_past_quarantine(1.0)
    assert not again.is_past_quarantine(1.1), "the quarantine is not lost"


def test_a_tag_in_use_is_not_the_first_to_be_lost() -> None:
    """Each read counts as use."""
    world = World(most=3)
    reading = world.begin("a")
    for other in range(10):
        world.begin("a", other)
    assert reading.is_current


def test_what_is_written_and_not_read_costs_nothing_of_what_is_read() -> None:
    """However much it is; of the latest moves it is known when they were."""
    world = World(most=3)
    reading = world.begin("a")
    for number in range(10):
        world.now += 1.0
        world.move(number)
    assert reading.is_current
    assert world.begin("a").is_past_quarantine(1e9)
    assert not world.begin(9).is_past_quarantine(0.1 + world.now - 1_010.0)
    assert not world.begin("b").is_past_quarantine(4.0), (
        "it may be one of those that are not known any more"
    )
    assert world.begin("b").is_past_quarantine(3.0)


@given(
    st.lists(
        st.tuples(st.sampled_from("rm"), st.frozensets(st.integers(0, 6), max_size=3)), max_size=60
    ),
    st.integers(1, 6),
)
def test_no_move_is_ever_missed(actions: list[tuple[str, frozenset[int]]], most: int) -> None:
    """Whatever is lost: who read before a move of one of its tags is never intact after it."""
    world = World(most)
    readings: list[tuple[frozenset[int], GenerationSnapshot]] = []
    over: set[int] = set()
    moved_at: dict[int, float] = {}
    for action, tags in actions:
        world.now += 1.0
        if action == "m":
            world.move(*tags)
            moved_at |= dict.fromkeys(tags, world.now)
            over |= {n for n, (read, _) in enumerate(readings) if read & tags}
        else:
            reading = world.begin(*tags)
            latest = max((moved_at.get(tag, 0.0) for tag in tags), default=0.0)
            assert not reading.is_past_quarantine(world.now - latest + 0.5) or not latest
            readings.append((tags, reading))
        assert not any(readings[number][1].is_current for number in over)
        assert len(world.generations) <= most
