"""Tests that the time of parsing and planning is charged, and refused when it is used up."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from dynamodb_processor.v1.query_pb2 import QuerySpec
from dynamodb_processor_server.errors import InvalidRequest, RateLimited
from dynamodb_processor_server.limits.call_rate import RateClass
from dynamodb_processor_server.limits.planning_time import PlanningTimeLimits
from dynamodb_processor_server.rpc.planning import PlanningWork
from tests.support.limits import Clock, principal
from tests.support.running import eventually, query_spec
from tests.support.work import InlineExecutor
from tests.unit.rpc.preparing import Prepared

_RATES = RateClass(1_000, planning_seconds_per_second=0.25)


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


@pytest.fixture
def limits(clock: Clock) -> PlanningTimeLimits:
    """Unused limits: a quarter of each second, one second at once."""
    free = RateClass(1_000, planning_seconds_per_second=None)
    return PlanningTimeLimits({"default": _RATES, "free": free}, clock)


def test_a_principal_in_debt_waits_until_it_is_paid(
    limits: PlanningTimeLimits, clock: Clock
) -> None:
    """Four seconds' worth may be used at once; the error says when the debt is paid."""
    limits.charge(principal(), 1.0)
    limits.check(principal())
    limits.charge(principal(), 0.5)
    with pytest.raises(RateLimited, match=r"0\.25 s of planning per second") as caught:
        limits.check(principal())
    assert caught.value.subject == "p"
    assert caught.value.retry_after == pytest.approx(2.0)
    limits.check(principal("q"))
    clock.now += 2.0
    limits.check(principal())
    clock.now += 3_600
    limits.charge(principal(), 1.0)
    limits.check(principal())  # unused time does not add up


def test_a_class_may_have_no_limit(limits: PlanningTimeLimits) -> None:
    """The usage of principals without a limit is counted, too."""
    limits.charge(principal("r", "free"), 100.0)
    limits.check(principal("r", "free"))
    assert dict(limits.seconds()) == {"r": 100.0}


@pytest.mark.parametrize("share", [0, 0.0001, 1.1, -1])
def test_a_share_is_a_part_of_a_second(share: float) -> None:
    """A share is at most the whole of the event loop's time, and at least a thousandth."""
    with pytest.raises(ValueError, match=r"must be 0\.001 to 1"):
        RateClass(1, planning_seconds_per_second=share)


def _burn(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def test_work_is_charged_by_the_processor_time_it_takes(limits: PlanningTimeLimits) -> None:
    """Failed work is charged as well; when nothing is left, no work is done."""
    work = PlanningWork(limits, InlineExecutor())

    def fail() -> None:
        _burn(0.02)
        raise InvalidRequest.of("query", "is wrong")

    with pytest.raises(InvalidRequest):
        work.run(principal(), fail)
    assert dict(limits.seconds())["p"] >= 0.02
    limits.charge(principal(), 2.0)
    with pytest.raises(RateLimited):
        work.run(principal(), lambda: pytest.fail("done all the same"))


async def test_large_queries_are_planned_in_a_thread(limits: PlanningTimeLimits) -> None:
    """The loop serves other calls meanwhile; the reserved time is replaced by the measured time."""
    with ThreadPoolExecutor(1) as thread:
        work = PlanningWork(limits, thread)
        own = threading.get_ident()
        assert await work.run_sized(principal(), 100, threading.get_ident) == own
        assert await work.run_sized(principal(), 10_000, threading.get_ident) != own
        assert dict(limits.seconds())["p"] < 0.05

        go = threading.Event()
        waiting = asyncio.create_task(work.run_sized(principal(), 10_000, lambda: go.wait(10)))
        await eventually(lambda: dict(limits.used())["p"] >= 0.05)
        assert dict(limits.seconds())["p"] >= 0.1  # set aside
        go.set()
        assert await waiting
        assert dict(limits.seconds())["p"] < 0.05


def _spec_of(number: int) -> QuerySpec:
    return query_spec("events", f"user_id = 'u-{number}'")


async def test_cached_plans_take_no_planning_time() -> None:
    """A principal in debt is refused new queries and may use cached plans."""
    prepare = Prepared(rates=_RATES)
    known = await prepare(_spec_of(1))
    prepare.limits.charge(principal("reports"), 5.0)
    spent = dict(prepare.limits.seconds())["reports"]
    assert await prepare(_spec_of(1)) is known
    assert dict(prepare.limits.seconds())["reports"] == spent
    with pytest.raises(RateLimited):
        await prepare(_spec_of(2))
    prepare.clock.now += 60
    await prepare(_spec_of(2))
    assert dict(prepare.limits.seconds())["reports"] > spent


async def test_a_call_that_has_begun_is_planned_to_its_end() -> None:
    """Parsing may use up the rest of the time; the call is then planned all the same."""
    prepare = Prepared(rates=_RATES)
    await prepare(_spec_of(1))
    spent = dict(prepare.limits.seconds())["reports"]
    prepare.limits.charge(principal("reports"), 0.9999 - spent)
    conditions = " AND ".join(f"a{n}=1" for n in range(300))
    await prepare(query_spec("events", f"user_id = 'u-1' AND {conditions}"))
    with pytest.raises(RateLimited):
        await prepare(_spec_of(2))
    prepare.limits.check(principal("reports"), begun=True)
    prepare.limits.charge(principal("reports"), 2.0)
    with pytest.raises(RateLimited):
        prepare.limits.check(principal("reports"), begun=True)
