"""Admission: its bound, its queue, its fairness, and that no slot is ever lost."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dynamodb_processor_server.errors import Overloaded
from dynamodb_processor_server.limits.admission import Admission


async def _run_tasks(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_no_principal_has_every_slot() -> None:
    """One slot of eight is for others, however long one principal's reads take."""
    admission = Admission(16, 10)
    noisy = [asyncio.create_task(admission.enter("noisy")) for _ in range(20)]
    await _run_tasks()
    assert (admission.active, admission.waiting) == (14, 6)
    for _ in range(2):
        await admission.enter("quiet")
    late = asyncio.create_task(admission.enter("quiet"))
    await _run_tasks()
    assert (admission.active, admission.waiting) == (16, 7)
    admission.leave("quiet")
    await late
    admission.leave("noisy")
    await _run_tasks()
    assert sum(task.done() for task in noisy) == 15
    for principal in ["noisy"] * 19 + ["quiet"] * 2:
        admission.leave(principal)
        await _run_tasks()
    assert (admission.active, admission.waiting) == (0, 0)


async def test_a_call_beyond_limit_and_queue_is_refused_at_once() -> None:
    """The refusal says when to come again."""
    admission = Admission(1, 1, retry_after=0.5)
    await admission.enter("a")
    waiter = asyncio.create_task(admission.enter("a"))
    await _run_tasks()
    assert admission.waiting == 1
    with pytest.raises(Overloaded) as caught:
        await admission.enter("a")
    assert caught.value.retry_after == 0.5
    admission.leave("a")
    await waiter
    admission.leave("a")
    assert (admission.active, admission.waiting) == (0, 0)


async def test_the_queue_is_served_in_order() -> None:
    """The call that has waited longest is next, and no other passes it."""
    admission = Admission(1, 3)
    await admission.enter("a")
    order: list[int] = []

    async def read(number: int) -> None:
        async with admission.slot("a"):
            order.append(number)

    readers = [asyncio.create_task(read(number)) for number in range(3)]
    await _run_tasks()
    admission.leave("a")
    readers.append(asyncio.create_task(read(3)))
    await asyncio.gather(*readers)
    assert order == [0, 1, 2, 3]
    assert admission.active == 0


async def test_principals_are_served_in_rotation() -> None:
    """The next call is another principal's, however many calls each has waiting."""
    admission = Admission(1, 10)
    await admission.enter("a")
    order: list[str] = []

    async def read(principal: str) -> None:
        async with admission.slot(principal):
            order.append(principal)

    readers = [asyncio.create_task(read(principal)) for principal in "aaaabcb"]
    await _run_tasks()
    admission.leave("a")
    await asyncio.gather(*readers)
    assert "".join(order) == "abcabaa"


async def test_a_full_queue_makes_room_for_a_principal_with_fewer_calls() -> None:
    """The latest call of the principal with the most is refused, down to an equal share."""
    admission = Admission(1, 4)
    await admission.enter("a")
    noisy = [asyncio.create_task(admission.enter("noisy")) for _ in range(4)]
    await _run_tasks()
    quiet = [asyncio.create_task(admission.enter("quiet")) for _ in range(3)]
    await _run_tasks()
    assert [task.done() for task in noisy] == [False, False, True, True]
    assert [task.done() for task in quiet] == [False, False, True]
    for refused in (*noisy[2:], quiet[2]):
        with pytest.raises(Overloaded):
            await refused
    for principal in ("a", "noisy", "quiet", "noisy", "quiet"):
        admission.leave(principal)
    await asyncio.gather(*noisy[:2], *quiet[:2])
    assert (admission.active, admission.waiting) == (0, 0)


async def test_a_call_that_would_be_served_too_late_is_refused_at_once() -> None:
    """The service rate so far gives the time at which a call would be served."""
    now = [100.0]
    admission = Admission(1, 100, wait=60.0, clock=lambda: now[0])
    await admission.enter("a")
    waiting = [asyncio.create_task(admission.enter("a")) for _ in range(3)]
    await _run_tasks()
    now[0] += 2.0
    admission.leave("a")  # a turn takes 2 s, and two calls wait
    with pytest.raises(Overloaded):
        await admission.enter("a", 5.9)
    in_time = asyncio.create_task(admission.enter("a", 6.1))
    other = asyncio.create_task(admission.enter("another", 4.1))  # only one is served before it
    await _run_tasks()
    assert admission.waiting == 4
    now[0] += 10.0  # the next turn is overdue, which says more than those before
    with pytest.raises(Overloaded):
        await admission.enter("third", 10.0)
    for principal in ("a", "a", "another", "a", "a"):
        admission.leave(principal)
    await asyncio.gather(*waiting, in_time, other)
    assert (admission.active, admission.waiting) == (0, 0)


async def test_a_slow_spell_does_not_close_the_queue_for_good() -> None:
    """A call may always wait in an empty queue, and its service renews the rate."""
    now = [0.0]
    admission = Admission(1, 10, wait=1.0, clock=lambda: now[0])
    await admission.enter("a")
    first = asyncio.create_task(admission.enter("a"))
    await _run_tasks()
    now[0] += 50.0
    admission.leave("a")
    await first
    second = asyncio.create_task(admission.enter("a"))
    await _run_tasks()
    assert admission.waiting == 1
    admission.leave("a")
    await second
    admission.leave("a")


async def test_waiting_has_an_end() -> None:
    """A call that waits too long is refused, and leaves no trace in the queue."""
    admission = Admission(1, 1, wait=0.005)
    await admission.enter("a")
    with pytest.raises(Overloaded):
        await admission.enter("a")
    assert (admission.active, admission.waiting) == (1, 0)


async def test_a_slot_handed_to_a_cancelled_call_is_passed_on() -> None:
    """A call may be cancelled in the moment that it gets its slot."""
    admission = Admission(1, 2)
    await admission.enter("a")
    first = asyncio.create_task(admission.enter("a"))
    second = asyncio.create_task(admission.enter("a"))
    await _run_tasks()
    admission.leave("a")
    first.cancel()
    await second
    assert first.cancelled()
    assert (admission.active, admission.waiting) == (1, 0)


async def test_a_failed_read_gives_its_slot_back() -> None:
    """The context manager leaves after any error."""
    admission = Admission(1, 0)
    with pytest.raises(KeyError):
        async with admission.slot("a"):
            raise KeyError
    assert admission.active == 0


def test_leaving_without_having_entered_is_a_defect() -> None:
    """No slot is ever added."""
    with pytest.raises(RuntimeError):
        Admission(1, 0).leave("a")


@pytest.mark.parametrize(("limit", "queue"), [(0, 0), (-1, 1), (1, -1)])
def test_invalid_bounds_are_refused(limit: int, queue: int) -> None:
    """There is at least one slot, and no negative queue."""
    with pytest.raises(ValueError, match="limit must be"):
        Admission(limit, queue)


@given(
    arrivals=st.lists(st.sampled_from("abcd"), min_size=1, max_size=30),
    queue=st.integers(1, 12),
)
def test_every_queue_is_shared_and_served_fairly(arrivals: list[str], queue: int) -> None:
    """No call is refused for a principal with more waiting, and none is served out of rotation."""

    async def run() -> tuple[list[str], list[str]]:
        admission = Admission(1, queue, wait=3_600)
        await admission.enter("a")
        served: list[str] = []
        refused: list[str] = []

        async def read(principal: str) -> None:
            try:
                async with admission.slot(principal):
                    served.append(principal)
            except Overloaded:
                refused.append(principal)

        readers = [asyncio.create_task(read(principal)) for principal in arrivals]
        await _run_tasks()
        assert admission.waiting == min(queue, len(arrivals))
        admission.leave("a")
        await asyncio.gather(*readers)
        assert (admission.active, admission.waiting) == (0, 0)
        return served, refused

    served, refused = asyncio.run(run())
    assert sorted(served + refused) == sorted(arrivals)
    kept = Counter(served)
    assert all(kept[principal] >= max(kept.values()) - 1 for principal in refused)
    for index, principal in enumerate(served):
        until = served[:index]
        for other in set(served[index:]) - {principal}:
            assert until.count(principal) <= until.count(other)


_LIMIT = 8
_MOST = 7
_QUEUE = 4


class AdmissionMachine(RuleBasedStateMachine):
    """Enters, leaves and cancels in any order, and counts the holders of slots itself."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.admission = Admission(_LIMIT, _QUEUE, wait=3_600)
        self.tasks: dict[asyncio.Task[float], str] = {}
        self.holders: Counter[str] = Counter()

    def teardown(self) -> None:
        """Cancel all waiting calls and leave every slot: all must be free again."""
        for task in self.tasks:
            task.cancel()
        self.run_until_idle()
        for principal in self.holders.elements():
            self.admission.leave(principal)
        assert (self.admission.active, self.admission.waiting) == (0, 0)
        self.loop.close()

    @rule(principal=st.sampled_from("abc"))
    def enter(self, principal: str) -> None:
        """Start to enter; the event loop does not run yet."""
        self.tasks[self.loop.create_task(self.admission.enter(principal))] = principal

    @precondition(lambda self: self.holders.total())
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        """Give a slot back; the event loop does not run yet."""
        principal = data.draw(st.sampled_from(sorted(self.holders.elements())))
        self.holders[principal] -= 1
        self.admission.leave(principal)

    @precondition(lambda self: self.tasks)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """Cancel a call that enters, at any point."""
        data.draw(st.sampled_from(list(self.tasks))).cancel()

    @rule(times=st.integers(1, 2))
    def run_loop(self, times: int) -> None:
        """Run the event loop, perhaps not often enough for every call."""
        self.loop.run_until_complete(_run_tasks(times))
        self.collect()

    @rule()
    def run_until_idle(self) -> None:
        """Run the loop until idle: then no slot is free that a waiting call may have."""
        self.loop.run_until_complete(_run_tasks(10))
        self.collect()
        assert self.admission.active == self.holders.total()
        assert self.admission.waiting == len(self.tasks) <= _QUEUE
        assert self.admission.active == _LIMIT or all(
            self.holders[principal] == _MOST for principal in self.tasks.values()
        )

    def collect(self) -> None:
        """Count the calls that entered; forget those that were refused or cancelled."""
        for task in [task for task in self.tasks if task.done()]:
            principal = self.tasks.pop(task)
            if task.cancelled():
                continue
            error = task.exception()
            assert error is None or isinstance(error, Overloaded)
            self.holders[principal] += error is None

    @invariant()
    def bounded(self) -> None:
        """No more slots are taken than exist, and no fewer than are held."""
        assert self.holders.total() <= self.admission.active <= _LIMIT
        assert max(self.holders.values(), default=0) <= _MOST
        assert self.admission.waiting <= _QUEUE


TestAdmissionMachine = AdmissionMachine.TestCase
TestAdmissionMachine.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
