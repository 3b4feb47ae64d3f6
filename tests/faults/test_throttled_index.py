"""DynamoDB throttles one index of a table, and nothing else of the table suffers."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio

from dynamodb_processor.v1 import query_pb2
from dynamodb_processor.v1.value_pb2 import AttributeValue, Item
from tests.faults.conftest import Ground, open_ground
from tests.faults.load import Outcome, measure
from tests.faults.stub import Reply, refusal
from tests.rpc.logged import Logged
from tests.support.datasets import Index, Schema
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.lengths import PATIENCE, at_length, timely
from tests.support.running import Refusal, Service, make_key, numbers, query_spec, refused

_SECONDS: Final = at_length(3.0, 30.0)  # Of throttling.
_AT_ONCE: Final = 4  # Callers of each kind.
_PAUSE: Final = 0.02  # Seconds between one caller's calls.
_JOBS: Final = list(range(1, 9))
_BYPASS: Final = query_pb2.CachePolicy(mode=query_pb2.CACHE_MODE_BYPASS)
_REASON: Final = "IndexReadProvisionedThroughputExceeded"
_INDEXES: Final = (
    Index("by_state", False, ("state",), ("due",)),
    Index("by_owner", False, ("owner",), ("due",)),
    Index("by_size", True, ("job",), ("due",)),
)
_TYPES: Final = {"job": "S", "step": "N", "state": "S", "owner": "S", "due": "N"}
#: The throttled index is read for this caller, and part of its key is hidden from it.
_UNSEEING: Final = make_key(
    "unseeing",
    tables=[{"table": "events", "attributes": ["job", "step", "due"], "rule": "state = 'open'"}],
)


def _job(number: int) -> dict[str, Any]:
    """Return a step of one job."""
    return {
        "job": {"S": "a"},
        "step": {"N": str(number)},
        "state": {"S": "open"},
        "owner": {"S": "ann"},
        "due": {"N": str(number)},
    }


def throttle(table: str) -> Callable[[int, bytes], Reply | None]:
    """Return a script that throttles each read of `by_state`."""
    arn = f"arn:aws:dynamodb:eu-west-1:123456789012:table/{table}/index/by_state"
    reply = refusal("ThrottlingException", ThrottlingReasons=[{"reason": _REASON, "resource": arn}])
    return lambda number, body: reply if b'"by_state"' in body else None


@pytest.fixture(scope="module")
def jobs(dynamodb_local: str) -> str:
    """The name of a table with two global indexes and a local one."""
    name = f"faults-jobs-{uuid.uuid4().hex[:8]}"
    client = open_client(dynamodb_local)
    create_table(client, Schema(name, "job", "step", _INDEXES, _TYPES))
    put_items(client, name, map(_job, _JOBS))
    client.close()
    return name


@pytest_asyncio.fixture
async def ground(jobs: str, tmp_path: Path, dynamodb_local: str) -> AsyncIterator[Ground]:
    """A server that reads the table."""
    async with open_ground(
        tmp_path,
        dynamodb_local,
        jobs,
        config={"sparse": "allow"},
        keys=[make_key("tester"), _UNSEEING],
        breaker_open_seconds=at_length(0.3, 2.0),
    ) as opened:
        yield opened


def _calls(service: Service) -> dict[str, Callable[[], Awaitable[list[int]]]]:
    """Return reads of the table and of each index, which give the numbers of the steps."""

    async def query(condition: str, index: str) -> list[int]:
        spec = query_spec("events", condition, index=index)
        return numbers((await service.query(spec, cache=_BYPASS)).items, "step")

    async def get() -> list[int]:
        keys = [
            Item(attributes={"job": AttributeValue(s="a"), "step": AttributeValue(n=str(number))})
            for number in _JOBS
        ]
        answer = await service.get("events", keys)
        return numbers([one.item for one in answer.results], "step")

    async def count() -> list[int]:
        spec = query_spec("events", "owner = 'ann'", index="by_owner")
        return list(range(1, (await service.count(spec, cache=_BYPASS)).total.value + 1))

    return {
        "by_state": lambda: query("state = 'open'", "by_state"),
        "by_owner": lambda: query("owner = 'ann'", "by_owner"),
        "by_owner, counted": count,
        "by_size": lambda: query("job = 'a' AND due > 0", "by_size"),
        "the table": lambda: query("job = 'a'", "@table"),
        "the table, by key": get,
    }


async def _load(
    service: Service, seconds: float, enough: Callable[[], bool] = lambda: True
) -> dict[str, Outcome]:
    """Make all calls for so many seconds, longer until it is enough; return their outcomes."""
    outcomes = {name: Outcome() for name in _calls(service)}
    until = time.monotonic() + seconds

    async def repeat(name: str, call: Callable[[], Awaitable[list[int]]]) -> None:
        while time.monotonic() < until or not enough():
            await measure(outcomes[name], call(), lambda seen: seen == _JOBS)
            await asyncio.sleep(_PAUSE)

    each = [one for one in _calls(service).items() for _ in range(_AT_ONCE)]
    await asyncio.gather(*(repeat(*one) for one in each))
    return outcomes


def _named(failure: Refusal) -> dict[str, str]:
    """Return the metadata of a failure's ErrorInfo."""
    return dict(failure.details["ErrorInfo"].metadata)


async def test_a_throttled_index_leaves_the_rest_of_its_table_alone(
    jobs: str, ground: Ground, logged: Logged, report: Callable[[str, str, str], None]
) -> None:
    """Reads of the table and of other indexes all succeed; the index has its own breaker.

    Log, metric and error name the index and DynamoDB's reason.
    """
    service, labels = ground.service, {"table": "events", "index": "by_state"}
    before = await _load(service, 0.3)
    ground.stub.script = throttle(jobs)
    highest = 0.0
    # On a slow machine it takes longer until ten requests have failed within ten seconds.
    loading = asyncio.create_task(_load(service, _SECONDS, lambda: highest == 2))
    async with asyncio.timeout(_SECONDS + PATIENCE):
        while not loading.done():
            highest = max(highest, await ground.metric("breaker_state", **labels))
            await asyncio.sleep(0.1)
    outcomes = await loading
    throttled = outcomes.pop("by_state")
    ground.stub.script = lambda number, body: None
    async with asyncio.timeout(PATIENCE):
        while not (await _load(service, 0.1))["by_state"].right:
            pass
    after = await _load(service, 0.3)
    right = sum(one.right for one in outcomes.values())
    failed = sum(one.calls - one.right for one in outcomes.values())
    state = await ground.metric("breaker_state", table="events")
    report(
        f"one index is throttled for {_SECONDS:.0f} s",
        "0 failed elsewhere; its breaker opens (2) and closes (0)",
        f"elsewhere {right} right, {failed} failed; of it {throttled.right} right, "
        f"{len(throttled.refusals)} refused; breaker {highest:.0f}, then {state:.0f}",
    )
    assert not any(one.calls - one.right for one in (*before.values(), *after.values()))
    assert (failed, throttled.right, throttled.wrong) == (0, 0, [])
    assert all(one.right > 0 for one in outcomes.values())
    assert (highest, state) == (2, 0)
    assert await ground.metric("throttles_total", **labels, reason=_REASON) >= 10
    assert await ground.metric("throttles_total") == await ground.metric(
        "throttles_total", **labels, reason=_REASON
    )
    assert throttled.codes == {"UNAVAILABLE": len(throttled.refusals)}
    named = {"throttled_index": "by_state", "throttling_reasons": _REASON}
    assert all(_named(one) == named for one in throttled.refusals)
    line = {name: logged.of("throttled")[0][name] for name in ("table", "index", "reason")}
    assert line == {**labels, "reason": _REASON}
    assert [one["index"] for one in logged.of("breaker_opened")][:1] == ["by_state"]
    assert logged.of("breaker_opened")[0]["reasons"] == [_REASON]
    assert logged.of("breaker_closed")[-1]["index"] == "by_state"


async def test_a_caller_that_does_not_see_the_index_learns_nothing_of_it(
    jobs: str, ground: Ground
) -> None:
    """Neither while it is throttled nor when its breaker is open."""
    ground.stub.script = throttle(jobs)
    spec = query_spec("events", "due > 0")
    failures = await asyncio.gather(
        *(refused(ground.service.query(spec, key="unseeing", cache=_BYPASS)) for _ in range(12))
    )
    failures.append(await refused(ground.service.query(spec, key="unseeing", cache=_BYPASS)))
    assert await ground.metric("throttles_total", index="by_state") >= 10
    for failure in failures:
        assert failure.code.name == "UNAVAILABLE"
        assert _named(failure) == {}
        assert "by_state" not in f"{failure.message}{failure.details}"


async def test_the_pause_that_dynamodb_asks_for_reaches_the_caller(
    jobs: str, ground: Ground
) -> None:
    """It is longer than the call may take, so the call ends at once and gives it as advice."""
    reply = refusal("ThrottlingException")
    reply = replace(reply, headers={**reply.headers, "x-amz-retry-after": "60000"})
    ground.stub.script = lambda number, body: reply
    began = time.monotonic()
    failure = await refused(_calls(ground.service)["the table"]())
    assert ground.stub.reads == 1
    assert timely(time.monotonic() - began, 1.0)
    assert failure.details["RetryInfo"].retry_delay.ToMilliseconds() == 60_000
    assert failure.trailing["grpc-retry-pushback-ms"] == "60000"
