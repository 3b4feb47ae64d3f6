"""Admission: the bound, the queue, its fairness, and that no place is ever lost."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dynamodb_processor_server.errors import Overloaded
from dynamodb_processor_server.limits.admission import Admission


async def _turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_nobody_has_every_place() -> None:
    """One of eight is for others, however long one principal's reads take."""
    admission = Admission(16, 10)
    noisy = [asyncio.create_task(admission.enter("noisy")) for _ in range(20)]
    await _turns()
    assert (admission.active, admission.waiting) == (14, 6)
    for _ in range(2):
        await admission.enter("quiet")
    late = asyncio.create_task(admission.enter("quiet"))
    await _turns()
    assert (admission.active, admission.waiting) == (16, 7)
    admission.leave("quiet")
    await late
    admission.leave("noisy")
    await _turns()
    assert sum(task.done() for task in noisy) == 15
    for principal in ["noisy"] * 19 + ["quiet"] * 2:
        admission.leave(principal)
        await _turns()
    assert (admission.active, admission.waiting) == (0, 0)


async def test_over_limit_and_queue_is_refused_at_once() -> None:
    """With all places taken and the queue full, the next one is told so and when to come again."""
    admission = Admission(1, 1, retry_after=0.5)
    await admission.enter("a")
    waiter = asyncio.create_task(admission.enter("a"))
    await _turns()
    assert admission.waiting == 1
    with pytest.raises(Overloaded) as caught:
        await admission.enter("a")
    assert caught.value.retry_after == 0.5
    admission.leave("a")
    await waiter
    admission.leave("a")
    assert (admission.active, admission.waiting) == (0, 0)


async def test_the_queue_is_served_in_order() -> None:
    """Whoever waits longest is next, and nobody passes the queue."""
    admission = Admission(1, 3)
    await admission.enter("a")
    order: list[int] = []

    async def read(number: int) -> None:
        async with admission.place("a"):
            order.append(number)

    readers = [asyncio.create_task(read(number)) for number in range(3)]
    await _turns()
    admission.leave("a")
    readers.append(asyncio.create_task(read(3)))
    await asyncio.gather(*readers)
    assert order == [0, 1, 2, 3]
    assert admission.active == 0


async def test_principals_take_turns() -> None:
    """Whoever has how many calls waiting, the next to be served is another principal's."""
    admission = Admission(1, 10)
    await admission.enter("a")
    order: list[str] = []

    async def read(principal: str) -> None:
        async with admission.place(principal):
            order.append(principal)

    readers = [asyncio.create_task(read(principal)) for principal in "aaaabcb"]
    await _turns()
    admission.leave("a")
    await asyncio.gather(*readers)
    assert "".join(order) == "abcabaa"


async def test_a_full_queue_makes_room_for_who_has_less() -> None:
    """The latest call of whoever has most is refused for it, down to an equal share."""
    admission = Admission(1, 4)
    await admission.enter("a")
    noisy = [asyncio.create_task(admission.enter("noisy")) for _ in range(4)]
    await _turns()
    quiet = [asyncio.create_task(admission.enter("quiet")) for _ in range(3)]
    await _turns()
    assert [task.done() for task in noisy] == [False, False, True, True]
    assert [task.done() for task in quiet] == [False, False, True]
    for refused in (*noisy[2:], quiet[2]):
        with pytest.raises(Overloaded):
            await refused
    for principal in ("a", "noisy", "quiet", "noisy", "quiet"):
        admission.leave(principal)
    await asyncio.gather(*noisy[:2], *quiet[:2])
    assert (admission.active, admission.waiting) == (0, 0)


async def test_a_turn_that_would_come_too_late_is_refused_at_once() -> None:
    """The pace of the turns before tells when a call's own would come."""
    now = [100.0]
    admission = Admission(1, 100, wait=60.0, clock=lambda: now[0])
    await admission.enter("a")
    waiting = [asyncio.create_task(admission.enter("a")) for _ in range(3)]
    await _turns()
    now[0] += 2.0
    admission.leave("a")  # a turn takes 2 s, and two calls wait
    with pytest.raises(Overloaded):
        await admission.enter("a", 5.9)
    in_time = asyncio.create_task(admission.enter("a", 6.1))
    other = asyncio.create_task(admission.enter("another", 4.1))  # only one is served before it
    await _turns()
    assert admission.waiting == 4
    now[0] += 10.0  # the next turn is overdue, which says more than those before
    with pytest.raises(Overloaded):
        await admission.enter("third", 10.0)
    for principal in ("a", "a", "another", "a", "a"):
        admission.leave(principal)
    await asyncio.gather(*waiting, in_time, other)
    assert (admission.active, admission.waiting) == (0, 0)


async def test_a_slow_spell_does_not_close_the_queue_for_good() -> None:
    """Whoever finds the queue empty may wait, and from its turn the pace is learned anew."""
    now = [0.0]
    admission = Admission(1, 10, wait=1.0, clock=lambda: now[0])
    await admission.enter("a")
    first = asyncio.create_task(admission.enter("a"))
    await _turns()
    now[0] += 50.0
    admission.leave("a")
    await first
    second = asyncio.create_task(admission.enter("a"))
    await _turns()
    assert admission.waiting == 1
    admission.leave("a")
    await second
    admission.leave("a")


async def test_waiting_has_an_end() -> None:
    """Who waits too long is refused, and leaves no trace in the queue."""
    admission = Admission(1, 1, wait=0.005)
    await admission.enter("a")
    with pytest.raises(Overloaded):
        await admission.enter("a")
    assert (admission.active, admission.waiting) == (1, 0)


async def test_a_place_handed_to_a_cancelled_waiter_goes_on() -> None:
    """A waiter cancelled in the moment of its turn passes the place to the next."""
    admission = Admission(1, 2)
    await admission.enter("a")
    first = asyncio.create_task(admission.enter("a"))
    second = asyncio.create_task(admission.enter("a"))
    await _turns()
    admission.leave("a")
    first.cancel()
    await second
    assert first.cancelled()
    assert (admission.active, admission.waiting) == (1, 0)


async def test_a_failed_read_gives_its_place_back() -> None:
    """The context manager leaves whatever happened inside."""
    admission = Admission(1, 0)
    with pytest.raises(KeyError):
        async with admission.place("a"):
            raise KeyError
    assert admission.active == 0


def test_leaving_without_having_entered_is_a_defect() -> None:
    """A place too many is never made."""
    with pytest.raises(RuntimeError):
        Admission(1, 0).leave("a")


@pytest.mark.parametrize(("limit", "queue"), [(0, 0), (-1, 1), (1, -1)])
def test_senseless_bounds_are_refused(limit: int, queue: int) -> None:
    """There is at least one place, and no negative queue."""
    with pytest.raises(ValueError, match="limit must be"):
        Admission(limit, queue)


@given(
    arrivals=st.lists(st.sampled_from("abcd"), min_size=1, max_size=30),
    queue=st.integers(1, 12),
)
def test_every_queue_is_shared_and_served_fairly(arrivals: list[str], queue: int) -> None:
    """Nobody is refused for who has more waiting, nor served twice before another is once."""

    async def run() -> tuple[list[str], list[str]]:
        admission = Admission(1, queue, wait=3_600)
        await admission.enter("a")
        served: list[str] = []
        refused: list[str] = []

        async def read(principal: str) -> None:
            try:
                async with admission.place(principal):
                    served.append(principal)
            except Overloaded:
                refused.append(principal)

        readers = [asyncio.create_task(read(principal)) for principal in arrivals]
        await _turns()
        assert admission.waiting == min(queue, len(arrivals))
        admission.leave("a")
        await asyncio.gather(*readers)
        assert (admission.active, admission.waiting) == (0, 0)
        return served, refused

    served, refused = asyncio.run(run())
    assert sorted(served + refused) == sorted(arrivals)
    kept = Counter(served)
    assert all(kept[principal] >= max(kept.values()) - 1 for principal in refused)
    for place, principal in enumerate(served):
        until = served[:place]
        for other in set(served[place:]) - {principal}:
            assert until.count(principal) <= until.count(other)


_LIMIT = 8
_MOST = 7
_QUEUE = 4


class AdmissionMachine(RuleBasedStateMachine):
    """Enters, leaves and cancels in any order, and counts for itself who holds a place."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.admission = Admission(_LIMIT, _QUEUE, wait=3_600)
        self.tasks: dict[asyncio.Task[None], str] = {}
        self.holders: Counter[str] = Counter()

    def teardown(self) -> None:
        """Cancel who waits and let everyone leave: all places must be free again."""
        for task in self.tasks:
            task.cancel()
        self.settle()
        for principal in self.holders.elements():
            self.admission.leave(principal)
        assert (self.admission.active, self.admission.waiting) == (0, 0)
        self.loop.close()

    @rule(principal=st.sampled_from("abc"))
    def enter(self, principal: str) -> None:
        """Begin to enter; the loop does not turn yet."""
        self.tasks[self.loop.create_task(self.admission.enter(principal))] = principal

    @precondition(lambda self: self.holders.total())
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        """Give a place back; the loop does not turn yet."""
        principal = data.draw(st.sampled_from(sorted(self.holders.elements())))
        self.holders[principal] -= 1
        self.admission.leave(principal)

    @precondition(lambda self: self.tasks)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """Cancel someone who enters, at whatever point it is."""
        data.draw(st.sampled_from(list(self.tasks))).cancel()

    @rule(turns=st.integers(1, 2))
    def turn(self, turns: int) -> None:
        """Let the loop turn, perhaps not often enough for everyone."""
        self.loop.run_until_complete(_turns(turns))
        self.collect()

    @rule()
    def settle(self) -> None:
        """Let everyone come to rest: then no place is free that someone waiting may have."""
        self.loop.run_until_complete(_turns(10))
        self.collect()
        assert self.admission.active == self.holders.total()
        assert self.admission.waiting == len(self.tasks) <= _QUEUE
        assert self.admission.active == _LIMIT or all(
            self.holders[principal] == _MOST for principal in self.tasks.values()
        )

    def collect(self) -> None:
        """Count who got in; forget who was refused or cancelled."""
        for task in [task for task in self.tasks if task.done()]:
            principal = self.tasks.pop(task)
            if task.cancelled():
                continue
            error = task.exception()
            assert error is None or isinstance(error, Overloaded)
            self.holders[principal] += error is None

    @invariant()
    def bounded(self) -> None:
        """There are never more places taken than there are, and never fewer than are held."""
        assert self.holders.total() <= self.admission.active <= _LIMIT
        assert max(self.holders.values(), default=0) <= _MOST
        assert self.admission.waiting <= _QUEUE


TestAdmissionMachine = AdmissionMachine.TestCase
TestAdmissionMachine.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)
