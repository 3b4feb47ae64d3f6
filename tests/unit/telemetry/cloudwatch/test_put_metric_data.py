"""Requests of PutMetricData: their batches and sizes, refusals, and the end of the server.

`tests/e2e/test_cloudwatch.py` has the meaning of the data, against moto's imitation of CloudWatch.
"""

from __future__ import annotations

import gc
import gzip
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from urllib.parse import parse_qs

import pytest
import pytest_asyncio
import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter

from dynamodb_processor_server.settings import Settings
from dynamodb_processor_server.telemetry.cloudwatch.publisher import NotSent
from dynamodb_processor_server.telemetry.cloudwatch.put_metric_data import PutMetricData
from dynamodb_processor_server.telemetry.cloudwatch.sampler import Datum
from dynamodb_processor_server.wiring.cloudwatch import publish_to_cloudwatch
from tests.support.backends import AWS_ENVIRONMENT, REGION
from tests.support.running import eventually

_DONE = "<PutMetricDataResponse><ResponseMetadata/></PutMetricDataResponse>"
_REFUSED = (
    "<ErrorResponse><Error><Type>Sender</Type><Code>InvalidParameterValue</Code>"
    "<Message>The value NaN is invalid.</Message></Error></ErrorResponse>"
)


@dataclass
class Endpoint:
    """An endpoint that takes requests, or refuses them."""

    refuses: bool = False
    sizes: list[int] = field(default_factory=list)
    requests: list[dict[str, list[str]]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        """Take one request."""
        body = await request.read()
        if body.startswith(b"\x1f\x8b"):
            body = gzip.decompress(body)
        self.sizes.append(len(body))
        self.requests.append(parse_qs(body.decode()))
        if self.refuses:
            return web.Response(status=400, text=_REFUSED, content_type="text/xml")
        return web.Response(text=_DONE, content_type="text/xml")

    @property
    def batches(self) -> list[int]:
        """The number of metrics in each request."""
        return [sum(name.endswith(".MetricName") for name in one) for one in self.requests]

    def total(self) -> float:
        """Return the sum of the first values, which are those of `CallsTotal` for all codes."""
        return sum(float(one["MetricData.member.1.Value"][0]) for one in self.requests)


@pytest_asyncio.fixture
async def endpoint(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Endpoint]:
    """The endpoint of CloudWatch for the sender."""
    for name, value in AWS_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    served = Endpoint()
    application = web.Application(client_max_size=10_000_000)
    application.router.add_post("/", served.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", f"http://{host}:{port}")
    yield served
    await runner.cleanup()


async def test_a_request_stays_within_the_limits_of_cloudwatch(endpoint: Endpoint) -> None:
    """It has at most 1,000 metrics and 1 MB, with the longest names of tables."""
    data = [
        Datum("ReadUnitsTotal", "Count", (("Deployment", "d" * 100), ("Table", "t" * 255)), (1.5,))
        for _ in range(2_001)
    ]
    sender = PutMetricData(REGION)
    await sender.send(data)
    await sender.close()
    assert endpoint.batches == [1_000, 1_000, 1]
    assert max(endpoint.sizes) < 1_000_000


async def test_a_refused_request_is_an_error_with_its_reason(endpoint: Endpoint) -> None:
    """A sender that never sent is closed as well."""
    endpoint.refuses = True
    sender = PutMetricData(REGION)
    with pytest.raises(NotSent, match=r"The value NaN is invalid\."):
        await sender.send([Datum("CachedBytes", "Bytes", (("Deployment", "d"),), (1.0,))])
    await sender.close()
    await PutMetricData(REGION).close()


async def test_the_last_data_is_sent_before_the_connections_are_closed(endpoint: Endpoint) -> None:
    """What was counted since the last interval arrives, and no connection stays open."""
    registry = CollectorRegistry()
    calls = Counter("dynamodb_processor_calls", "Calls.", ("code",), registry=registry)
    settings = Settings.model_validate(
        {
            "catalog": "c", "keys": "k", "region": REGION,
            "cloudwatch": "put", "cloudwatch_interval": 2,
        }
    )  # fmt: skip
    with structlog.testing.capture_logs() as lines:
        async with AsyncExitStack() as stack:
            publish_to_cloudwatch(settings, registry, stack)
            calls.labels("OK").inc()
            await eventually(lambda: endpoint.total() == 1)
            calls.labels("OK").inc(4)
        del stack
        gc.collect()  # a connection that was left open complains when it is freed
    assert endpoint.total() == 5
    assert lines == []
