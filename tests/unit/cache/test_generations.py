"""Generations: a snapshot shows at once that it is superseded; a lost one costs only misses."""

from __future__ import annotations

from collections.abc import Hashable

from hypothesis import given
from hypothesis import strategies as st

from dynamodb_processor_server.cache.generations import Generations
from dynamodb_processor_server.snapshot import GenerationSnapshot


class TimedGenerations:
    """Generations with a clock that is set by hand."""

    def __init__(self, most: int = 100) -> None:
        self.now = 1_000.0
        self.generations = Generations(lambda: self.now, most)

    def begin(self, *tags: Hashable) -> GenerationSnapshot:
        """Begin a read."""
        return self.generations.begin(tags)

    def invalidate(self, *tags: Hashable) -> None:
        """Invalidate."""
        self.generations.invalidate(tags)


def test_snapshots_of_one_time_share_generations() -> None:
    """A tag's invalidation ends only the snapshots that have the tag."""
    timed = TimedGenerations()
    first, second, other = timed.begin("a", "b"), timed.begin("a", "b"), timed.begin("b")
    assert first.generations == second.generations
    timed.invalidate("a")
    assert not first.is_current
    assert not second.is_current
    assert other.is_current
    third = timed.begin("a", "b")
    assert third.is_current
    assert third.generations != first.generations
    assert third.generations[1] is first.generations[1]


def test_a_tag_without_reads_can_be_invalidated() -> None:
    """A snapshot taken afterwards has the time of the invalidation."""
    timed = TimedGenerations()
    timed.invalidate("a")
    timed.now += 2.0
    reading = timed.begin("a", "b")
    assert reading.is_current
    assert reading.began == 1_002.0
    assert reading.is_past_quarantine(2.0)
    assert not reading.is_past_quarantine(2.1)
    assert timed.begin("b").is_past_quarantine(1e9), "it has never been invalidated"


def test_a_lost_generation_counts_as_invalidated() -> None:
    """The tag's next generation counts as invalidated when the latest of the lost ones was."""
    timed = TimedGenerations(most=2)
    timed.invalidate("a")
    reading = timed.begin("a")
    timed.now += 1.0
    timed.begin("b", "c")
    assert len(timed.generations._known) == 2
    assert not reading.is_current
    again = timed.begin("a")
    assert again.is_current
    assert again.is_past_quarantine(1.0)
    assert not again.is_past_quarantine(1.1), "the quarantine is not lost"


def test_a_tag_in_use_is_not_the_first_to_be_lost() -> None:
    """Each read counts as use."""
    timed = TimedGenerations(most=3)
    reading = timed.begin("a")
    for other in range(10):
        timed.begin("a", other)
    assert reading.is_current


def test_writes_without_reads_evict_no_generation_in_use() -> None:
    """Any number of writes has no effect on reads; the latest invalidations keep their times."""
    timed = TimedGenerations(most=3)
    reading = timed.begin("a")
    for number in range(10):
        timed.now += 1.0
        timed.invalidate(number)
    assert reading.is_current
    assert timed.begin("a").is_past_quarantine(1e9)
    assert not timed.begin(9).is_past_quarantine(0.1 + timed.now - 1_010.0)
    assert not timed.begin("b").is_past_quarantine(4.0), (
        "it may be one of those that are not known any more"
    )
    assert timed.begin("b").is_past_quarantine(3.0)


@given(
    st.lists(
        st.tuples(st.sampled_from("rm"), st.frozensets(st.integers(0, 6), max_size=3)), max_size=60
    ),
    st.integers(1, 6),
)
def test_no_invalidation_is_ever_missed(
    actions: list[tuple[str, frozenset[int]]], most: int
) -> None:
    """A snapshot is never current after an invalidation of its tags, whichever ones are lost."""
    timed = TimedGenerations(most)
    readings: list[tuple[frozenset[int], GenerationSnapshot]] = []
    over: set[int] = set()
    invalidated_at: dict[int, float] = {}
    for action, tags in actions:
        timed.now += 1.0
        if action == "m":
            timed.invalidate(*tags)
            invalidated_at |= dict.fromkeys(tags, timed.now)
            over |= {n for n, (read, _) in enumerate(readings) if read & tags}
        else:
            reading = timed.begin(*tags)
            latest = max((invalidated_at.get(tag, 0.0) for tag in tags), default=0.0)
            assert not reading.is_past_quarantine(timed.now - latest + 0.5) or not latest
            readings.append((tags, reading))
        assert not any(readings[number][1].is_current for number in over)
        assert len(timed.generations._known) <= most
