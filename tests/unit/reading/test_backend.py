"""Requests to DynamoDB: made again when that may help and there is time and budget, else not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from dynamodb_processor_server.errors import BackendRefused, BackendUnavailable, TableNotFound
from dynamodb_processor_server.reading.backend import Answer, Backend, BackendSettings, Target
from dynamodb_processor_server.reading.breakers import BreakerSettings, State
from dynamodb_processor_server.reading.clients import Clients
from tests.unit.reading.warped_time import warped

EVENTS = Target("events", "eu-west-1", "a role")
CONTENT = {"Items": ()}


def refusal(code: str, status: int = 400) -> ClientError:
    """Return an error that DynamoDB answers with."""
    response: Any = {
        "Error": {"Code": code, "Message": ""},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, "Query")


THROTTLED = refusal("ThrottlingException")


@dataclass
class Script:
    """A client, and where to get it: an error is raised, a number waits for so many seconds first.

    When the script is over, all is well. `asked` is when requests were made.
    """

    steps: Sequence[Exception | float] = ()
    asked: list[float] = field(default_factory=list)
    renewed: list[tuple[str | None, str | None]] = field(default_factory=list)

    async def client(self, region: str | None, role_arn: str | None) -> Script:
        """Return the client."""
        return self

    def renew_credentials(self, region: str | None, role_arn: str | None) -> None:
        """Note that it was asked for."""
        self.renewed.append((region, role_arn))

    async def play(self, client: Any) -> dict[str, Any]:
        """Do the next step."""
        assert client is self
        self.asked.append(asyncio.get_running_loop().time() - 1_000.0)
        number = len(self.asked) - 1
        match self.steps[number] if number < len(self.steps) else 0.0:
            case Exception() as error:
                raise error
            case seconds:
                await asyncio.sleep(seconds)
        return CONTENT

    def backend(self, attempts: int = 3, jitter: float = 1.0, breaks_at: int = 1_000) -> Backend:
        """Return a backend that plays it; its breakers open after so many failures."""
        breaker = BreakerSettings(least_calls=breaks_at, cool_down=2.0)
        settings = BackendSettings(attempts, attempt_timeout=2.0, breaker=breaker)
        return Backend(cast("Clients", self), settings, jitter=lambda: jitter)


async def read(script: Script, backend: Backend | None = None, seconds: float = 60.0) -> Answer:
    """Read with a deadline in so many seconds."""
    deadline = asyncio.get_running_loop().time() + seconds
    return await (backend or script.backend()).read(EVENTS, script.play, deadline)


@warped
async def test_a_failure_that_passes_is_not_seen() -> None:
    """The answer says how many attempts it took, and how long with the pauses between them."""
    script = Script([THROTTLED, ReadTimeoutError(endpoint_url="")])
    answer = await read(script)
    assert (answer.content, answer.attempts) == (CONTENT, 3)
    assert script.asked == pytest.approx([0.0, 0.025, 0.075])
    assert answer.seconds == pytest.approx(0.075)


@warped
async def test_attempts_are_bounded() -> None:
    """The last failure is raised, with what it came from for the log, and clients may try."""
    script = Script([THROTTLED] * 9)
    with pytest.raises(BackendUnavailable) as raised:
        await read(script, script.backend(attempts=4))
    assert len(script.asked) == 4
    assert raised.value.__cause__ is THROTTLED
    assert raised.value.pushback is None


@warped
async def test_refusals_are_final() -> None:
    """Asking again for what is not allowed, or not there, helps nobody."""
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
    """It is raised as it came, once."""
    bug = KeyError("bug")
    script = Script([bug, bug])
    with pytest.raises(KeyError) as raised:
        await read(script)
    assert raised.value is bug
    assert len(script.asked) == 1


@warped
async def test_no_retry_begins_that_cannot_end_in_time() -> None:
    """The caller hears of the failure while it still listens."""
    script = Script([THROTTLED] * 9)
    with pytest.raises(BackendUnavailable):
        await read(script, script.backend(attempts=9), seconds=0.08)
    assert script.asked == pytest.approx([0.0, 0.025])
    assert asyncio.get_running_loop().time() == pytest.approx(1_000.025)


@warped
async def test_an_attempt_without_an_answer_is_given_up() -> None:
    """Also one whose answer drips, which never lets the socket time out."""
    script = Script([10.0])
    answer = await read(script)
    assert answer.attempts == 2
    assert script.asked == pytest.approx([0.0, 2.025])


@warped
async def test_a_table_in_trouble_gets_hardly_more_requests() -> None:
    """When its budget is spent there are no retries, and clients are told not to make any."""
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
    """Others are read as before."""
    script = Script([THROTTLED] * 32)
    backend = script.backend()
    for _ in range(20):
        with pytest.raises(BackendUnavailable):
            await read(script, backend)
    deadline = asyncio.get_running_loop().time() + 60.0
    other = await backend.read(Target("other"), script.play, deadline)
    assert other.attempts == 3


@warped
async def test_expired_credentials_are_renewed_before_the_next_attempt() -> None:
    """Those of the client that was used, though the attempt may be another call's.

    If they stay expired, that is for the operator.
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
async def test_every_attempt_is_counted_by_what_became_of_it() -> None:
    """Those that nobody waited for included."""
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
async def test_what_is_asked_about_tables_leaves_no_record() -> None:
    """Callers may guess names of tables without end."""
    script = Script([THROTTLED])
    backend = script.backend()
    answer = await backend.describe(Target("a guess"), script.play)
    assert answer.attempts == 2
    assert list(backend.tables()) == []


HOT = replace(EVENTS, partition=("by_day", "monday"))


def too_hot() -> ClientError:
    """Return what DynamoDB says of a hot partition."""
    error = refusal("ThrottlingException")
    response: Any = error.response
    response["throttlingReasons"] = [{"reason": "IndexReadKeyRangeThroughputExceeded"}]
    return error


def table_state(backend: Backend) -> State:
    """Return the state of the breaker of the events."""
    return dict(backend.breakers.states())["events"]


@warped
async def test_a_table_that_fails_is_left_alone_for_a_moment() -> None:
    """Callers are told when to come back, and DynamoDB hears nothing meanwhile."""
    script = Script([THROTTLED] * 3)
    backend = script.backend(attempts=1, breaks_at=3)
    for _ in range(3):
        with pytest.raises(BackendUnavailable):
            await read(script, backend)
    for _ in range(50):
        with pytest.raises(BackendUnavailable, match="left alone") as refused:
            await read(script, backend)
        assert refused.value.retry_after == refused.value.pushback == pytest.approx(2.5)
    assert len(script.asked) == 3
    await asyncio.sleep(2.5)
    await read(script, backend)
    assert table_state(backend) is State.CLOSED


@warped
async def test_retries_pass_the_breaker_too() -> None:
    """One that opens between two attempts ends the call."""
    script = Script([THROTTLED] * 9)
    with pytest.raises(BackendUnavailable, match="left alone"):
        await read(script, script.backend(attempts=9, breaks_at=4))
    assert len(script.asked) == 4


@warped
async def test_what_waits_for_a_connection_is_not_slow() -> None:
    """Its timeout begins when it has one."""
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
async def test_what_an_answer_took_is_metered(used: Any) -> None:
    """For one request of one table or of several, once, and in the task that asked."""
    told: list[tuple[str, float]] = []

    async def ask(client: Any) -> dict[str, Any]:
        return {"ConsumedCapacity": used}

    meter = lambda table, units: told.append((table, units))  # noqa: E731
    backend = Backend(cast("Clients", Script()), meter=meter)
    answer = await backend.read(EVENTS, ask, asyncio.get_running_loop().time() + 1.0)
    assert told == [("events", 1.5)]
    assert answer.read_units == 1.5


@warped
async def test_one_of_many_callers_probes() -> None:
    """The rest is refused while it waits, and served when it was answered."""
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
    """Its caller left before anything could be said."""
    script = Script([*[THROTTLED] * 4, 1.5, 0.0])
    backend = script.backend(attempts=1, breaks_at=4)
    for _ in range(4):
        with pytest.raises(BackendUnavailable):
            await read(script, backend)
    await asyncio.sleep(2.5)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await read(script, backend)
    assert table_state(backend) is State.HALF_OPEN
    await read(script, backend)
    assert table_state(backend) is State.CLOSED


@pytest.mark.parametrize(("patience", "state"), [(0.5, State.CLOSED), (1.0, State.OPEN)])
def test_what_callers_give_up_counts_if_it_was_slow(patience: float, state: State) -> None:
    """A short deadline says nothing of DynamoDB, but a second without an answer does."""

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
async def test_a_hot_partition_does_not_take_its_table_along() -> None:
    """It alone is left alone, on the path where it is hot."""
    script = Script([too_hot()] * 4)
    backend = script.backend(attempts=1, breaks_at=4)
    deadline = asyncio.get_running_loop().time() + 60.0
    for _ in range(4):
        with pytest.raises(BackendUnavailable, match="throttled"):
            await backend.read(HOT, script.play, deadline)
    with pytest.raises(BackendUnavailable, match="left alone"):
        await backend.read(HOT, script.play, deadline)
    for partition in (None, ("by_day", "tuesday"), (None, "monday")):
        await backend.read(replace(EVENTS, partition=partition), script.play, deadline)
    assert table_state(backend) is State.CLOSED


@warped
async def test_refusals_open_nothing() -> None:
    """Bad requests and missing tables say nothing of a table's health."""
    script = Script([refusal("ValidationException")] * 20)
    backend = script.backend(breaks_at=4)
    for _ in range(20):
        with pytest.raises(BackendRefused):
            await read(script, backend)
    assert table_state(backend) is State.CLOSED
