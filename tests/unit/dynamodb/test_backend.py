"""Requests to DynamoDB are retried if that may help and time and budget remain."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from botocore.exceptions import ReadTimeoutError

from dynamodb_processor_server.auth.principal import Principal
from dynamodb_processor_server.dynamodb.backend import Backend, BackendSettings, RequestTarget
from dynamodb_processor_server.dynamodb.clients import Clients
from dynamodb_processor_server.errors import BackendRefused, BackendUnavailable, TableNotFound
from tests.support.reads import CALLER
from tests.support.warped_time import warped
from tests.unit.dynamodb.scripted_client import (
    CONTENT,
    EVENTS,
    FAILED,
    THROTTLED,
    Script,
    read,
    refusal,
)


@warped
async def test_a_transient_failure_is_not_seen() -> None:
    """The answer has the number of attempts, and the time with the pauses between them."""
    script = Script([FAILED, ReadTimeoutError(endpoint_url="")])
    answer = await read(script)
    assert (answer.content, answer.attempts) == (CONTENT, 3)
    assert script.asked == pytest.approx([0.0, 0.025, 0.075])
    assert answer.seconds == pytest.approx(0.075)


@warped
async def test_attempts_are_bounded() -> None:
    """The last failure is raised with its cause for the log, and clients may retry it."""
    script = Script([THROTTLED] * 9)
    with pytest.raises(BackendUnavailable) as raised:
        await read(script, script.backend(attempts=4))
    assert len(script.asked) == 4
    assert raised.value.__cause__ is THROTTLED
    assert raised.value.pushback is None


@warped
async def test_refusals_are_final() -> None:
    """A request that is not allowed, or names a missing resource, is not retried."""
    for code, expected in {
        "AccessDeniedException": BackendRefused,
        "UnrecognizedClientException": BackendRefused,
        "ValidationException": BackendRefused,
        "ResourceNotFoundException": TableNotFound,
    }.items():
        script = Script([refusal(code)] * 2)
        with pytest.raises(expected):
            await read(script)
        assert len(script.asked) == 1


@warped
async def test_a_bug_stays_what_it_is() -> None:
    """An unexpected exception is raised unchanged after one attempt."""
    bug = KeyError("bug")
    script = Script([bug, bug])
    with pytest.raises(KeyError) as raised:
        await read(script)
    assert raised.value is bug
    assert len(script.asked) == 1


@warped
async def test_no_retry_begins_without_time_to_finish() -> None:
    """The caller receives the failure before its deadline."""
    script = Script([FAILED] * 9)
    with pytest.raises(BackendUnavailable):
        await read(script, script.backend(attempts=9), seconds=0.08)
    assert script.asked == pytest.approx([0.0, 0.025])
    assert asyncio.get_running_loop().time() == pytest.approx(1_000.025)


@warped
async def test_an_attempt_without_an_answer_is_given_up() -> None:
    """An attempt is also given up if its answer drips, so that the socket never times out."""
    script = Script([10.0])
    answer = await read(script)
    assert answer.attempts == 2
    assert script.asked == pytest.approx([0.0, 2.025])


@warped
async def test_a_table_in_trouble_gets_hardly_more_requests() -> None:
    """Without retry budget there are no retries, and clients are advised not to retry."""
    script = Script([THROTTLED] * 1_000)
    backend = script.backend()
    pushbacks = []
    for _ in range(100):
        with pytest.raises(BackendUnavailable) as raised:
            await read(script, backend)
        pushbacks.append(raised.value.pushback)
    assert len(script.asked) == 110
    assert pushbacks == [None] * 5 + [-1.0] * 95


@warped
async def test_a_spent_budget_is_one_table_s_own() -> None:
    """Other tables are read as before."""
    script = Script([THROTTLED] * 32)
    backend = script.backend()
    for _ in range(20):
        with pytest.raises(BackendUnavailable):
            await read(script, backend)
    deadline = asyncio.get_running_loop().time() + 60.0
    other = await backend.read(RequestTarget("other"), script.play, deadline, CALLER)
    assert other.attempts == 3


@warped
async def test_expired_credentials_are_renewed_before_the_next_attempt() -> None:
    """The credentials of the used client are renewed, though the attempt may be another call's.

    Credentials that stay expired are left to the operator.
    """
    script = Script([refusal("ExpiredTokenException")])
    assert (await read(script)).attempts == 2
    assert script.renewed == [("eu-west-1", "a role")]
    script = Script([refusal("ExpiredTokenException")])
    with pytest.raises(BackendRefused, match="ExpiredToken"):
        await read(script, seconds=0.01)
    assert script.renewed == [("eu-west-1", "a role")]
    script = Script([refusal("ExpiredTokenException")] * 9)
    with pytest.raises(BackendRefused, match="ExpiredToken"):
        await read(script)
    assert len(script.asked) == 3


@warped
async def test_every_attempt_is_counted_by_its_outcome() -> None:
    """Attempts whose callers left are counted too."""
    script = Script([THROTTLED, refusal("InternalServerError", 500), 0.0, 1.5, 0.0])
    backend = script.backend()
    await read(script, backend)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await read(script, backend)
    await read(script, backend)
    ((table, record),) = backend.tables()
    assert table == "events"
    assert record.outcomes == {"throttled": 1, "failed": 1, "ok": 2, "abandoned": 1}
    assert record.retries == 2


@warped
async def test_control_plane_calls_leave_no_statistics() -> None:
    """Callers may guess any number of table names."""
    script = Script([THROTTLED])
    backend = script.backend()
    answer = await backend.call_control_plane(RequestTarget("a guess"), script.play)
    assert answer.attempts == 2
    assert list(backend.tables()) == []


@warped
async def test_a_request_that_waits_for_a_connection_is_not_slow() -> None:
    """The timeout of an attempt begins when it has a connection."""
    script = Script([1.5] * 10)
    settings = BackendSettings(1, attempt_timeout=2.0, connections=2)
    backend = Backend(cast("Clients", script), settings)
    answers = await asyncio.gather(*(read(script, backend) for _ in range(8)))
    assert script.asked == [0.0, 0.0, 1.5, 1.5, 3.0, 3.0, 4.5, 4.5]
    assert [answer.attempts for answer in answers] == [1] * 8


@pytest.mark.parametrize(
    "used", [{"CapacityUnits": 1.5}, [{"CapacityUnits": 1.0}, {"CapacityUnits": 0.5}]]
)
@warped
async def test_the_cost_of_an_answer_is_metered(used: Any) -> None:
    """Each meter gets the usage of one table or several, once, with the payer of the request."""
    shown: list[tuple[Principal, str, float]] = []

    async def ask(client: Any) -> dict[str, Any]:
        return {"ConsumedCapacity": used}

    meter = lambda *charge: shown.append(charge)  # noqa: E731
    backend = Backend(cast("Clients", Script()), meters=(meter, meter))
    answer = await backend.read(EVENTS, ask, asyncio.get_running_loop().time() + 1.0, CALLER)
    assert shown == [(CALLER.principal, "events", 1.5)] * 2
    assert answer.read_units == 1.5
