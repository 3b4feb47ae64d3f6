"""Admission: the bound, the queue, and that no place is ever lost."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dynamodb_processor_server.access.admission import Admission
from dynamodb_processor_server.errors import Overloaded


async def _turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_free_places_are_taken_without_a_loop() -> None:
    """On the hot path nothing is awaited: a free place is taken and given back by plain calls."""
    admission = Admission(2, 0)
    assert admission.try_enter()
    assert admission.try_enter()
    assert not admission.try_enter()
    admission.leave()
    assert admission.try_enter()
    assert admission.active == 2


async def test_over_limit_and_queue_is_refused_at_once() -> None:
    """With all places taken and the queue full, the next one is told so and when to come again."""
    admission = Admission(1, 1, retry_after=0.5)
    assert admission.try_enter()
    waiter = asyncio.create_task(admission.enter())
    await _turns()
    assert admission.waiting == 1
    with pytest.raises(Overloaded) as caught:
        await admission.enter()
    assert caught.value.retry_after == 0.5
    admission.leave()
    await waiter
    admission.leave()
    assert (admission.active, admission.waiting) == (0, 0)


async def test_the_queue_is_served_in_order() -> None:
    """Whoever waits longest is next, and nobody passes the queue."""
    admission = Admission(1, 3)
    await admission.enter()
    order: list[int] = []

    async def read(number: int) -> None:
        async with admission:
            order.append(number)

    readers = [asyncio.create_task(read(number)) for number in range(3)]
    await _turns()
    admission.leave()
    assert not admission.try_enter()
    await asyncio.gather(*readers)
    assert order == [0, 1, 2]
    assert admission.active == 0


async def test_waiting_has_an_end() -> None:
    """Who waits too long is refused, and leaves no trace in the queue."""
    admission = Admission(1, 1, wait=0.005)
    await admission.enter()
    with pytest.raises(Overloaded):
        await admission.enter()
    assert (admission.active, admission.waiting) == (1, 0)


async def test_a_place_handed_to_a_cancelled_waiter_goes_on() -> None:
    """A waiter cancelled in the moment of its turn passes the place to the next."""
    admission = Admission(1, 2)
    await admission.enter()
    first = asyncio.create_task(admission.enter())
    second = asyncio.create_task(admission.enter())
    await _turns()
    admission.leave()
    first.cancel()
    await second
    assert first.cancelled()
    assert (admission.active, admission.waiting) == (1, 0)


async def test_a_failed_read_gives_its_place_back() -> None:
    """The context manager leaves whatever happened inside."""
    admission = Admission(1, 0)
    with pytest.raises(KeyError):
        async with admission:
            raise KeyError
    assert admission.active == 0


def test_leaving_without_having_entered_is_a_defect() -> None:
    """A place too many is never made."""
    with pytest.raises(RuntimeError):
        Admission(1, 0).leave()


@pytest.mark.parametrize(("limit", "queue"), [(0, 0), (-1, 1), (1, -1)])
def test_senseless_bounds_are_refused(limit: int, queue: int) -> None:
    """There is at least one place, and no negative queue."""
    with pytest.raises(ValueError, match="limit must be"):
        Admission(limit, queue)


_LIMIT = 3
_QUEUE = 4


class AdmissionMachine(RuleBasedStateMachine):
    """Enters, leaves and cancels in any order, and counts for itself who holds a place."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.admission = Admission(_LIMIT, _QUEUE, wait=3_600)
        self.tasks: list[asyncio.Task[None]] = []
        self.holders = 0

    def teardown(self) -> None:
        """Cancel who waits and let everyone leave: all places must be free again."""
        for task in self.tasks:
            task.cancel()
        self.settle()
        while self.holders:
            self.holders -= 1
            self.admission.leave()
        assert (self.admission.active, self.admission.waiting) == (0, 0)
        self.loop.close()

    @rule()
    def try_enter(self) -> None:
        """Take a place without waiting."""
        self.holders += self.admission.try_enter()

    @rule()
    def enter(self) -> None:
        """Begin to enter; the loop does not turn yet."""
        self.tasks.append(self.loop.create_task(self.admission.enter()))

    @precondition(lambda self: self.holders)
    @rule()
    def leave(self) -> None:
        """Give a place back; the loop does not turn yet."""
        self.holders -= 1
        self.admission.leave()

    @precondition(lambda self: self.tasks)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """Cancel someone who enters, at whatever point it is."""
        data.draw(st.sampled_from(self.tasks)).cancel()

    @rule(turns=st.integers(1, 2))
    def turn(self, turns: int) -> None:
        """Let the loop turn, perhaps not often enough for everyone."""
        self.loop.run_until_complete(_turns(turns))
        self.collect()

    @rule()
    def settle(self) -> None:
        """Let everyone come to rest: then no place is free while someone waits."""
        self.loop.run_until_complete(_turns(10))
        self.collect()
        assert self.admission.active == self.holders
        assert self.admission.waiting == len(self.tasks) <= _QUEUE
        assert self.admission.active == _LIMIT or not self.tasks

    def collect(self) -> None:
        """Count who got in; forget who was refused or cancelled."""
        for task in [task for task in self.tasks if task.done()]:
            self.tasks.remove(task)
            if task.cancelled():
                continue
            error = task.exception()
            assert error is None or isinstance(error, Overloaded)
            self.holders += error is None

    @invariant()
    def bounded(self) -> None:
        """There are never more places taken than there are, and never fewer than are held."""
        assert self.holders <= self.admission.active <= _LIMIT
        assert self.admission.waiting <= _QUEUE


TestAdmissionMachine = AdmissionMachine.TestCase
TestAdmissionMachine.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
