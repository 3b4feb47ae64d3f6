"""Throttling: its reasons, its pauses, and an index that is throttled while its table is not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from dynamodb_processor_server.catalog.schema import BASE_TABLE
from dynamodb_processor_server.dynamodb.backend import Answer, Backend, RequestTarget
from dynamodb_processor_server.dynamodb.throttling import Throttling, retry_after, throttling_of
from dynamodb_processor_server.errors import BackendUnavailable
from dynamodb_processor_server.runtime.circuit_breaker import CircuitState
from tests.support.reads import CALLER
from tests.support.warped_time import warped
from tests.unit.dynamodb.scripted_client import (
    EVENTS,
    FAILED,
    THROTTLED,
    Script,
    read,
    refusal,
    state_of,
    throttled_by,
)

BY_DAY = EVENTS._replace(resource="by_day")
CAPACITY = "IndexReadProvisionedThroughputExceeded"
ACCOUNT = "TableReadAccountLimitExceeded"
INDEX = throttled_by(CAPACITY, "table/events/index/by_day")


async def ask(script: Script, backend: Backend, target: RequestTarget = BY_DAY) -> Answer:
    """Read a target with a distant deadline."""
    deadline = asyncio.get_running_loop().time() + 60.0
    return await backend.read(target, script.play, deadline, CALLER)


async def failure_of(script: Script, backend: Backend, target: RequestTarget = BY_DAY) -> Any:
    """Return the error of a read that fails."""
    with pytest.raises(BackendUnavailable) as raised:
        await ask(script, backend, target)
    return raised.value


@pytest.mark.parametrize("spelling", ["ThrottlingReasons", "throttlingReasons"])
@pytest.mark.parametrize(
    ("reasons", "expected"),
    [
        ([], Throttling()),
        ("no list", Throttling()),
        (["no reason"], Throttling()),
        ([{"reason": "Unheard"}], Throttling(("other",))),
        ([{"reason": CAPACITY, "resource": "arn:aws:x"}], Throttling((CAPACITY,))),
        (
            [{"reason": CAPACITY, "resource": "arn:aws-cn:dynamodb:r:1:table/t/index/i"}],
            Throttling((CAPACITY,), "i"),
        ),
        (
            [
                {
                    "reason": "TableReadAccountLimitExceeded",
                    "resource": "arn:a:dynamodb:r:1:table/t",
                },
                {"reason": "Unheard", "resource": "arn:a:dynamodb:r:1:table/t"},
                {"reason": "Of", "resource": "arn:a:dynamodb:r:1:table/t"},
            ],
            Throttling(("TableReadAccountLimitExceeded", "other"), BASE_TABLE),
        ),
        (
            [
                {"reason": CAPACITY, "resource": "arn:a:dynamodb:r:1:table/t"},
                {"reason": CAPACITY, "resource": "arn:a:dynamodb:r:1:table/t/index/i"},
            ],
            Throttling((CAPACITY,)),
        ),
        (
            [
                {
                    "reason": "IndexReadKeyRangeThroughputExceeded",
                    "resource": "arn:a:dynamodb:r:1:table/t/index/i",
                }
            ],
            Throttling(("IndexReadKeyRangeThroughputExceeded",), "i", is_hot_partition=True),
        ),
    ],
)
def test_reasons_are_read(spelling: str, reasons: Any, expected: Throttling) -> None:
    """They are a closed set, and name a resource only if all of them name the same."""
    assert throttling_of({spelling: reasons}) == expected


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("0", 0.0), ("1500", 1.5), ("", None), ("-1", None), ("1.5", None), ("soon", None),
     ("9" * 8, None), ("٣", None)],
)  # fmt: skip
def test_the_pause_that_dynamodb_asks_for_is_in_milliseconds(
    value: str, seconds: float | None
) -> None:
    """Other values, and hours of waiting, are left out of account."""
    error: Any = refusal("ThrottlingException", x_amz_retry_after=value)
    assert retry_after(error.response) == seconds
    assert retry_after({}) is None


@warped
async def test_throttled_requests_wait_longer_than_others() -> None:
    """Their pauses begin at a second, as those of AWS's SDKs, because capacity takes that long."""
    script = Script([THROTTLED, THROTTLED, FAILED])
    assert (await read(script, script.backend(attempts=4))).attempts == 4
    assert script.asked == pytest.approx([0.0, 1.0, 3.0, 3.1])


@warped
async def test_the_deadline_wins_over_the_pause() -> None:
    """A caller that cannot wait so long learns at once that the table is throttled."""
    script = Script([THROTTLED] * 9)
    with pytest.raises(BackendUnavailable, match="throttled") as raised:
        await read(script, seconds=0.9)
    assert script.asked == [0.0]
    assert asyncio.get_running_loop().time() == 1_000.0
    assert raised.value.is_out_of_time


@pytest.mark.parametrize(
    ("asked_for", "times"), [("200", [0.0, 1.0]), ("3500", [0.0, 3.5]), ("none", [0.0, 1.0])]
)
def test_the_pause_that_dynamodb_asks_for_is_kept(asked_for: str, times: list[float]) -> None:
    """A retry comes no sooner, and no sooner than without it."""

    @warped
    async def run() -> None:
        script = Script([refusal("ThrottlingException", x_amz_retry_after=asked_for)])
        await read(script)
        assert script.asked == pytest.approx(times)

    run()


@warped
async def test_a_pause_beyond_the_deadline_is_left_to_the_caller() -> None:
    """The error has it as advice for a person, and for gRPC's own retries."""
    for code, status in (("ThrottlingException", 400), ("ServiceUnavailable", 503)):
        script = Script([refusal(code, status, x_amz_retry_after="5000")])
        with pytest.raises(BackendUnavailable) as raised:
            await read(script, seconds=4.0)
        assert len(script.asked) == 1
        assert raised.value.retry_after == raised.value.pushback == 5.0


@warped
async def test_a_throttled_index_has_a_breaker_of_its_own() -> None:
    """The table and its other indexes are read as before; errors name the index and the reason."""
    script = Script([INDEX] * 4)
    backend = script.backend(attempts=1, breaks_at=4)
    errors = [await failure_of(script, backend) for _ in range(5)]
    assert len(script.asked) == 4
    assert [error.message for error in errors] == [
        *["events is being throttled by DynamoDB"] * 4,
        "events has been failing: its circuit breaker is open",
    ]
    assert {(error.resource, error.reasons) for error in errors} == {("by_day", (CAPACITY,))}
    for target in (EVENTS, EVENTS._replace(resource="by_user")):
        await ask(script, backend, target)
    assert state_of(backend, "events") is CircuitState.CLOSED
    assert state_of(backend, "events", "by_day") is CircuitState.OPEN
    await asyncio.sleep(2.5)
    await ask(script, backend)
    assert state_of(backend, "events", "by_day") is CircuitState.CLOSED


@warped
async def test_a_throttled_index_spends_a_retry_budget_of_its_own() -> None:
    """Its table still has all of its retries, and successes give the index some back."""
    script = Script([INDEX] * 30)
    backend = script.backend()
    errors = [await failure_of(script, backend) for _ in range(20)]
    assert [error.pushback for error in errors] == [None] * 5 + [-1.0] * 15
    assert len(script.asked) == 30
    script.steps = [*script.steps, *[THROTTLED] * 20]
    spent = [await failure_of(script, backend, EVENTS) for _ in range(6)]
    assert [error.pushback for error in spent] == [None] * 5 + [-1.0]
    script.steps = []
    for _ in range(10):
        await ask(script, backend)
    script.steps = [*[0.0] * len(script.asked), INDEX]
    assert (await ask(script, backend)).attempts == 2


@pytest.mark.parametrize(
    "error",
    [
        throttled_by(CAPACITY, "table/events/index/by_user"),
        throttled_by(CAPACITY, "table/events"),
        throttled_by(CAPACITY, "table/events", "table/events/index/by_day"),
        throttled_by(CAPACITY),
        THROTTLED,
    ],
    ids=["another index", "its table", "both", "none", "no reason"],
)
def test_throttling_of_something_else_counts_against_the_table(error: Exception) -> None:
    """Only a reason that names what the request reads says that the rest is well."""

    @warped
    async def run() -> None:
        script = Script([error] * 4)
        backend = script.backend(attempts=1, breaks_at=4)
        for _ in range(4):
            assert (await failure_of(script, backend)).resource is None
        assert state_of(backend, "events") is CircuitState.OPEN

    run()


@warped
async def test_throttling_is_counted_and_logged() -> None:
    """By table, index and reason: in one line a minute, and one when a breaker changes."""
    script = Script([INDEX] * 4)
    backend = script.backend(attempts=1, breaks_at=4)
    with capture_logs() as lines:
        for _ in range(4):
            await failure_of(script, backend)
        await asyncio.sleep(2.5)
        await ask(script, backend)
        await asyncio.sleep(60.0)
        script.steps = [*script.steps, 0.0, INDEX]
        await failure_of(script, backend)
    line = {"event": "throttled", "log_level": "warning", "table": "events", "index": "by_day"}
    line["reason"] = CAPACITY
    opened = {"event": "breaker_opened", "log_level": "warning", "reasons": [CAPACITY]}
    closed = {"event": "breaker_closed", "log_level": "info"}
    labels = {"table": "events", "index": "by_day"}
    assert lines == [
        line | {"times": 1},
        opened | labels,
        closed | labels,
        line | {"times": 4},
    ]
    ((_, stats),) = backend.tables()
    assert stats.throttles == {("by_day", CAPACITY): 5}


@warped
async def test_throttling_without_a_reason_is_counted_as_such() -> None:
    """DynamoDB gives none for some limits of the account."""
    script = Script([refusal("RequestLimitExceeded")])
    backend = script.backend()
    await read(script, backend)
    ((_, stats),) = backend.tables()
    assert stats.throttles == {("", "none"): 1}


@warped
async def test_throttled_descriptions_are_counted_nowhere() -> None:
    """Callers choose their names, of which there may be any number."""
    script = Script([throttled_by(ACCOUNT, "table/guess")])
    backend = script.backend()
    with capture_logs() as lines:
        answer = await backend.call_control_plane(RequestTarget("guess"), script.play)
    assert answer.attempts == 2
    assert (list(backend.tables()), lines) == ([], [])
