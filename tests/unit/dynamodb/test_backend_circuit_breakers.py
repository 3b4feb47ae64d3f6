"""Circuit breakers of the backend: no request to a failing table, but one probe."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dynamodb_processor_server.dynamodb.backend import Answer, Backend
from dynamodb_processor_server.errors import BackendRefused, BackendUnavailable
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
)

HOT = EVENTS._replace(partition=("by_day", "monday"))


def too_hot() -> ClientError:
    """Return DynamoDB's error for a hot partition."""
    error = refusal("ThrottlingException")
    response: Any = error.response
    response["throttlingReasons"] = [{"reason": "IndexReadKeyRangeThroughputExceeded"}]
    return error


def table_state(backend: Backend) -> CircuitState:
    """Return the state of the breaker of the events."""
    return state_of(backend, "events")


@warped
async def test_the_breaker_of_a_failing_table_opens() -> None:
    """Callers learn when to retry, and DynamoDB receives no request meanwhile."""
    script = Script([THROTTLED] * 3)
    backend = script.backend(attempts=1, breaks_at=3)
    for _ in range(3):
        with pytest.raises(BackendUnavailable):
            await read(script, backend)
    for _ in range(50):
        with pytest.raises(BackendUnavailable, match="circuit breaker is open") as refused:
            await read(script, backend)
        assert refused.value.retry_after == refused.value.pushback == pytest.approx(2.5)
    assert len(script.asked) == 3
    await asyncio.sleep(2.5)
    await read(script, backend)
    assert table_state(backend) is CircuitState.CLOSED


@warped
async def test_retries_pass_the_breaker_too() -> None:
    """A breaker that opens between two attempts ends the call."""
    script = Script([FAILED] * 9)
    with pytest.raises(BackendUnavailable, match="circuit breaker is open"):
        await read(script, script.backend(attempts=9, breaks_at=4))
    assert len(script.asked) == 4


@warped
async def test_one_of_many_callers_probes() -> None:
    """The other callers are refused during the probe, and served after it."""
    script = Script([*[THROTTLED] * 4, 0.5])
    backend = script.backend(attempts=1, breaks_at=4)
    for _ in range(4):
        with pytest.raises(BackendUnavailable):
            await read(script, backend)
    await asyncio.sleep(2.5)
    reads = (read(script, backend) for _ in range(50))
    results = await asyncio.gather(*reads, return_exceptions=True)
    assert sum(isinstance(result, Answer) for result in results) == 1
    assert sum(isinstance(result, BackendUnavailable) for result in results) == 49
    assert len(script.asked) == 5
    assert (await read(script, backend)).attempts == 1


@warped
async def test_a_probe_that_is_cancelled_makes_way() -> None:
    """A probe whose caller left lets another caller probe."""
    script = Script([*[THROTTLED] * 4, 1.5, 0.0])
    backend = script.backend(attempts=1, breaks_at=4)
    for _ in range(4):
        with pytest.raises(BackendUnavailable):
            await read(script, backend)
    await asyncio.sleep(2.5)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await read(script, backend)
    assert table_state(backend) is CircuitState.HALF_OPEN
    await read(script, backend)
    assert table_state(backend) is CircuitState.CLOSED


@pytest.mark.parametrize(
    ("patience", "state"), [(0.5, CircuitState.CLOSED), (1.0, CircuitState.OPEN)]
)
def test_an_abandoned_request_counts_if_it_was_slow(patience: float, state: CircuitState) -> None:
    """A short deadline is no failure of DynamoDB, but a second without an answer is one."""

    @warped
    async def run() -> None:
        script = Script([1.8] * 9)
        backend = script.backend(breaks_at=4)
        for _ in range(4):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(patience):
                    await read(script, backend)
        assert table_state(backend) is state

    run()


@warped
async def test_a_hot_partition_does_not_open_its_tables_breaker() -> None:
    """Only the partition is rejected, on the path where it is hot."""
    script = Script([too_hot()] * 4)
    backend = script.backend(attempts=1, breaks_at=4)
    deadline = asyncio.get_running_loop().time() + 60.0
    for _ in range(4):
        with pytest.raises(BackendUnavailable, match="throttled"):
            await backend.read(HOT, script.play, deadline, CALLER)
    with pytest.raises(BackendUnavailable, match="circuit breaker is open"):
        await backend.read(HOT, script.play, deadline, CALLER)
    for partition in (None, ("by_day", "tuesday"), (None, "monday")):
        await backend.read(EVENTS._replace(partition=partition), script.play, deadline, CALLER)
    assert table_state(backend) is CircuitState.CLOSED


@warped
async def test_refusals_open_nothing() -> None:
    """Bad requests and missing tables are no sign of a table's health."""
    script = Script([refusal("ValidationException")] * 20)
    backend = script.backend(breaks_at=4)
    for _ in range(20):
        with pytest.raises(BackendRefused):
            await read(script, backend)
    assert table_state(backend) is CircuitState.CLOSED
