"""The scenario of load keeps to the rate class of its caller, and counts all other failures."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo

from dynamodb_processor.v1 import catalog_service_pb2 as pb
from dynamodb_processor_client import Query, QueryClient, Table
from dynamodb_processor_server.acceptance.run import Result, run_scenario
from dynamodb_processor_server.acceptance.scenario import Deployment, LoadBounds
from dynamodb_processor_server.acceptance.under_load import SCENARIOS
from tests.support.fake_server import running
from tests.support.fake_service import Failure, FakeService, numbered
from tests.unit.client.fake_time import FakeTime

CALLS = 20
FILLING = 10  # calls that fill the cache before


def refusal(reason: str, seconds: int | None) -> Failure:
    """Return a refusal for a reason, with the time to wait if there is one."""
    retry = () if seconds is None else (RetryInfo(retry_delay=Duration(seconds=seconds)),)
    return Failure(
        grpc.StatusCode.RESOURCE_EXHAUSTED, "over the limit", (ErrorInfo(reason=reason), *retry)
    )


@pytest.fixture
async def service() -> AsyncIterator[FakeService]:
    """A service whose pages are no hits."""
    service = FakeService(items=numbered(20))
    async with running(service):
        yield service


async def loaded(service: FakeService, time: FakeTime, concurrency: int = 1) -> Result:
    """Return the result of the scenario, which accepts failures of a tenth of the calls."""
    bounds = LoadBounds(CALLS, concurrency, failed=0.1, hits=-1.0, patience=60.0)
    options = (("grpc.enable_retries", 0),)
    async with QueryClient(service.address, api_key="ddbp_test", options=options) as client:
        deployment = Deployment(
            client,
            lambda _: client,
            _no_status,
            Table.from_message(pb.Table(name="events", cache_ttl=Duration(seconds=300))),
            Query("events", "n >= 0"),
            (),
            load=bounds,
            clock=time.read,
            sleep=time.sleep,
        )
        (scenario,) = SCENARIOS
        return await run_scenario(scenario, deployment)


async def _no_status(_: str) -> str:
    raise AssertionError("the scenario asks for no status")


@pytest.mark.parametrize("concurrency", [1, 10])
async def test_a_refusal_by_the_rate_class_is_waited_out(
    service: FakeService, concurrency: int
) -> None:
    """Each refused call is made again after the given time, and is no failure."""
    time = FakeTime()
    service.failures += [refusal("RATE_LIMITED", 3)] * 5
    result = await loaded(service, time, concurrency)
    assert (result.outcome, len(service.requests)) == ("passed", FILLING + CALLS)
    assert result.text.endswith("p95 0 ms, 0.0% failed, 0.0% hits, 5 refusals by the rate class")
    assert set(time.pauses) <= {3.0}
    assert time.pauses


async def test_a_caller_makes_no_call_while_it_must_wait(service: FakeService) -> None:
    """A caller alone waits as long as each refusal says, one after the other."""
    time = FakeTime()
    service.failures += [refusal("RATE_LIMITED", 2), refusal("RATE_LIMITED", 5)]
    result = await loaded(service, time)
    assert (result.outcome, time.pauses) == ("passed", [2.0, 5.0])


@pytest.mark.parametrize(
    "failure",
    [
        refusal("OVERLOADED", 3),
        refusal("RATE_LIMITED", None),
        Failure(grpc.StatusCode.UNAVAILABLE, details=(RetryInfo(retry_delay=Duration(seconds=3)),)),
    ],
    ids=["full server", "no time given", "unavailable"],
)
async def test_other_failures_count(service: FakeService, failure: Failure) -> None:
    """A full server, a refusal without advice and an outage are failures of the deployment."""
    time = FakeTime()
    service.failures += [failure] * (FILLING + CALLS // 10)
    result = await loaded(service, time)
    assert (result.outcome, time.pauses) == ("FAILED", [])
    assert "10.0% of the calls fail" in result.text


async def test_a_class_too_low_for_the_calls_is_named(service: FakeService) -> None:
    """Where the waits would take over a minute, the scenario is not run and says what to change."""
    time = FakeTime()
    service.failures += [refusal("RATE_LIMITED", 40)] * 2
    result = await loaded(service, time)
    assert (result.outcome, set(time.pauses)) == ("not run", {40.0})
    assert "DDBQ_API_KEY needs more than 60 s" in result.text
    assert "--calls" in result.text
