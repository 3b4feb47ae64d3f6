"""DynamoDB fails in every way, and callers get right answers or clear errors in time."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import pytest

from tests.faults.conftest import Ground
from tests.faults.load import DEADLINE, USERS, Load, Outcome
from tests.faults.proxy import DELAY_SECONDS, Weather
from tests.faults.stub import Reply, Script, refusal
from tests.support.lengths import FULL, PATIENCE, at_length, timely

_GRACE: Final = 0.25  # Seconds past its deadline in which every call has ended.
_SECONDS: Final = at_length(0.4, 2)  # Of load; the fault comes soon and stays.
_LONGER: Final = {Weather.DRIP: 2, Weather.BLACKHOLE: 2}  # Calls take long before they are refused.
_AT_ONCE: Final = 6
_RECOVERY: Final = PATIENCE
_CALLS: Final = 60  # At least, while there is a fault.
_FIRST_RETRIES: Final = at_length(10, 0)  # Of each table's budget; in the short form they show.
SEEDS: Final = at_length(1, 3)


@dataclass(frozen=True, slots=True)
class Case:
    """One fault: the answers of DynamoDB, constant or occasional, or the weather on the way.

    `codes` are those that callers see, none for no failure at all.
    """

    name: str
    reply: Reply | None = None
    weather: Weather = Weather.FAIR
    codes: frozenset[str] = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED"})
    now_and_then: bool = False


_NONE: Final[frozenset[str]] = frozenset()
_OURS: Final = frozenset({"INTERNAL"})
_REASON: Final = [{"reason": "TableReadProvisionedThroughputExceeded", "resource": "arn:aws:x"}]
_MISMATCH: Final = Reply(0, headers={"x-amz-crc32": "1"})

CASES: Final = (
    Case("provisioned throughput", refusal("ProvisionedThroughputExceededException")),
    Case("throttling", refusal("ThrottlingException", throttlingReasons=_REASON)),
    Case("request limit", refusal("RequestLimitExceeded", ThrottlingReasons=_REASON)),
    Case("500", refusal("InternalServerError", 500)),
    Case("503", refusal("ServiceUnavailable", 503)),
    Case("503 of a gateway", Reply(503, b"<html>\xff no")),
    Case("no answer of DynamoDB's", Reply(200, b"<html>")),
    Case("500 at times", refusal("InternalServerError", 500), codes=_NONE, now_and_then=True),
    Case("checksum", _MISMATCH),
    Case("checksum at times", _MISMATCH, codes=_NONE, now_and_then=True),
    Case("expired credentials", refusal("ExpiredTokenException"), codes=_OURS),
    Case("unknown credentials", refusal("UnrecognizedClientException"), codes=_OURS),
    Case("denied", refusal("AccessDeniedException"), codes=_OURS),
    Case("slow", None, Weather.DELAY, _NONE),
    Case("dripping", None, Weather.DRIP),
    Case("reset", None, Weather.RESET),
    Case("truncated", None, Weather.TRUNCATE),
    Case("blackhole", None, Weather.BLACKHOLE),
    Case("garbage", None, Weather.GARBAGE),
    Case("killed and restarted", None, Weather.REFUSE),
)


def always(reply: Reply) -> Script:
    """Return a script that answers every read so."""
    return lambda number, body: reply


def now_and_then(reply: Reply) -> Script:
    """Return a script that answers one read in twelve so, but not its retry."""
    failed: set[bytes] = set()

    def answer(number: int, body: bytes) -> Reply | None:
        if number % 12 or body in failed:
            failed.discard(body)
            return None
        failed.add(body)
        return reply

    return answer


def _seconds_until_timeouts(case: Case) -> float:
    """Return them for short runs: few only where timeouts have to expire."""
    return 2.0 if case.weather in _LONGER else 25.0


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize(
    ("case", "ground"),
    [pytest.param(case, _seconds_until_timeouts(case), id=case.name) for case in CASES],
    indirect=["ground"],
)
async def test_a_fault_is_survived(
    case: Case, seed: int, ground: Ground, report: Callable[[str, str, str], None]
) -> None:
    """No answer is wrong or late, requests hardly exceed calls, and afterwards no call fails.

    A seed decides the order of the calls, and during which of them the fault comes.
    """
    load = Load(ground.service, seed=len(CASES) * seed + CASES.index(case))
    await _warm_up(load)
    before = await _counts(ground)
    async with asyncio.TaskGroup() as group:
        group.create_task(_strike(ground, case, seconds=seed * random.Random(seed).random() / 10))
        length = _SECONDS + _LONGER.get(case.weather, 0)
        running = group.create_task(load.run_for(length, _AT_ONCE, _CALLS))
    outcome, after_it = running.result(), await _counts(ground)
    attempts, retries, hits, seen = (now - then for now, then in zip(after_it, before, strict=True))
    uncached = outcome.calls - hits

    ground.stub.script = lambda number, body: None
    await ground.proxy.set_weather(Weather.FAIR)
    seconds = await _recover(load)
    after = await _recovered(load)

    report(
        f"{case.name}, seed {seed}",
        f"0 wrong, by {DEADLINE + _GRACE:.2f} s, ≤ 1.2 attempts a call, well in {_RECOVERY:.0f} s",
        f"{outcome.right} right, {len(outcome.wrong)} wrong, {dict(outcome.codes)}, "
        f"latest {outcome.latest:.2f} s, {attempts:.0f} attempts at {uncached:.0f} calls "
        f"besides {hits:.0f} hits, well after {seconds:.1f} s",
    )
    assert not outcome.wrong
    assert outcome.codes.keys() <= case.codes
    if case.codes:
        assert outcome.refusals, "no caller noticed it"
    else:
        assert retries or outcome.latest > DELAY_SECONDS, "it made no difference"
    assert timely(outcome.latest, DEADLINE + _GRACE)
    assert attempts <= 1.2 * uncached + _FIRST_RETRIES
    assert seen <= attempts, "something else asks again"
    assert outcome.honest
    assert (after.right, after.wrong, after.codes) == (20, [], {})


async def _counts(ground: Ground) -> tuple[float, float, float, int]:
    """Return the numbers of attempts, retries, hits and received reads."""
    attempts = await ground.metric("backend_calls_total")
    retries = await ground.metric("backend_retries_total")
    return attempts, retries, await ground.metric("reads_total", cache="HIT"), ground.stub.reads


async def _strike(ground: Ground, case: Case, seconds: float) -> None:
    """Let the fault begin, so many seconds from now."""
    await asyncio.sleep(seconds)
    if case.reply is not None:
        ground.stub.script = (now_and_then if case.now_and_then else always)(case.reply)
    await ground.proxy.set_weather(case.weather)


async def _warm_up(load: Load) -> None:
    """Let a DynamoDB Local that has just started become as fast as the timeouts expect."""
    async with asyncio.timeout(_RECOVERY):
        while (await load.run(10, 5)).right < 10:
            pass


async def _recover(load: Load) -> float:
    """Return the seconds until a call is answered."""
    began = time.monotonic()
    while not (await load.read(USERS[0])).right:
        assert time.monotonic() - began < _RECOVERY, "it does not recover"
        await asyncio.sleep(0.02)
    return time.monotonic() - began


async def _recovered(load: Load) -> Outcome:
    """Return the outcome of 20 calls; in short runs, of the first 20 that no timeout spoils."""
    async with asyncio.timeout(_RECOVERY):
        while (outcome := await load.run(20, 5)).refusals and not FULL:
            pass
    return outcome


async def _break(ground: Ground, load: Load) -> None:
    """Let reads fail until the table's breaker opens."""
    ground.stub.script = always(refusal("ServiceUnavailable", 503))
    while not await ground.metric("breaker_refusals_total", table="events"):
        await load.run(6, 3)
    ground.stub.script = lambda number, body: None


async def test_one_request_probes_a_table_behind_an_open_breaker(
    ground: Ground, report: Callable[[str, str, str], None]
) -> None:
    """One of many callers probes after the open time of the breaker; all are served after it."""
    load = Load(ground.service, seed=1)
    await _break(ground, load)
    await asyncio.sleep(0.5)
    reads, ground.stub.most_at_once = ground.stub.reads, 0
    ground.stub.gate.clear()
    ending = asyncio.as_completed([load.read(user) for user in USERS])
    outcomes = [await next(ending) for _ in USERS[1:]]
    ground.stub.gate.set()  # For the probe, which is the only one left.
    outcomes.append(await next(ending))
    probes = ground.stub.reads - reads
    report("half-open breaker", "1 probe", f"{probes} for {len(USERS)} callers at once")
    assert (probes, ground.stub.most_at_once) == (1, 1)
    assert sum(outcome.right for outcome in outcomes) == 1
    refusals = [refusal for outcome in outcomes for refusal in outcome.refusals]
    assert {refusal.code.name for refusal in refusals} == {"UNAVAILABLE"}
    assert all("RetryInfo" in refusal.details for refusal in refusals)
    assert await ground.metric("breaker_state", table="events") == 0
    assert (await load.run(20, 10)).right == 20


async def test_a_cached_page_is_served_while_the_breaker_is_open(ground: Ground) -> None:
    """Breakers act on requests to DynamoDB alone."""
    load = Load(ground.service, seed=2)
    assert await load.has_cached(USERS[3])
    await _break(ground, load)
    assert await load.has_cached(USERS[3])


async def test_a_hot_partition_has_a_breaker_of_its_own(ground: Ground) -> None:
    """Other partitions of the table are read as before."""
    hot = refusal(
        "ThrottlingException", throttlingReasons=[{"reason": "TableReadKeyRangeThroughputExceeded"}]
    )
    ground.stub.script = lambda number, body: hot if b'"u-7"' in body else None
    load = Load(ground.service, seed=3)
    # At the same time: the pauses after throttling would make their number in ten seconds random.
    assert not any(one.right for one in await asyncio.gather(*map(load.read, ["u-7"] * 12)))
    assert await ground.metric("open_partition_breakers") == 1
    assert all([(await load.read(user)).right for user in USERS if user != "u-7"])
    ground.stub.script = lambda number, body: None
    await asyncio.sleep(0.5)
    assert (await load.read("u-7")).right
    assert await ground.metric("open_partition_breakers") == 0


async def test_clients_learn_not_to_retry_when_the_budget_is_spent(ground: Ground) -> None:
    """Clients' retries on top of the server's would only add to a table's load."""
    load = Load(ground.service, seed=4)
    await _warm_up(load)
    assert (await load.run(30, 5)).right == 30  # So that the failures to come open no breaker.
    # Retries after throttling may not fit in a call's deadline; those after a failure always do.
    ground.stub.script = always(refusal("ServiceUnavailable", 503))
    refusals = [(await load.read(USERS[0])).refusals[0] for _ in range(6)]
    pushbacks = [refusal.trailing.get("grpc-retry-pushback-ms") for refusal in refusals]
    assert pushbacks == [None] * 5 + ["-1"]
    assert refusals[-1].code.name == "UNAVAILABLE"
    assert "RetryInfo" in refusals[-1].details
