"""Sends data to CloudWatch by PutMetricData."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

import aioboto3
from botocore.exceptions import BotoCoreError, ClientError

from dynamodb_processor_server.dynamodb.verified_sessions import verified_session
from dynamodb_processor_server.telemetry.cloudwatch.core_metrics import NAMESPACE
from dynamodb_processor_server.telemetry.cloudwatch.publisher import NotSent
from dynamodb_processor_server.telemetry.cloudwatch.sampler import Datum

# CloudWatch takes 1,000 metrics in a request.
_BATCH: Final = 1_000
_CONFIG: Final[Mapping[str, Any]] = {
    "connect_timeout": 3.0,
    "read_timeout": 5.0,
    "retries": {"mode": "standard", "total_max_attempts": 2},
}


class PutMetricData:
    """Sends data; the client is opened by the first call, since credentials may take their time.

    `close` ends it, after the last call. The endpoint and the credentials are botocore's defaults:
    `AWS_ENDPOINT_URL_CLOUDWATCH` names another endpoint.
    """

    def __init__(self, region: str | None) -> None:
        self._region = region
        self._stack = AsyncExitStack()
        self._client: Any = None

    async def close(self) -> None:
        """Close the client's connections."""
        await self._stack.aclose()

    async def send(self, data: Sequence[Datum]) -> None:
        """Send data in as few requests as possible; raises NotSent."""
        try:
            if self._client is None:
                self._client = await self._open()
            for batch in _batches(data):
                await self._client.put_metric_data(Namespace=NAMESPACE, MetricData=batch)
        except (BotoCoreError, ClientError) as error:
            raise NotSent(str(error)) from error

    async def _open(self) -> Any:
        session = aioboto3.Session(botocore_session=verified_session(**_CONFIG))
        client = session.client("cloudwatch", region_name=self._region)
        return await self._stack.enter_async_context(client)


def _batches(data: Sequence[Datum]) -> Iterator[list[dict[str, Any]]]:
    for first in range(0, len(data), _BATCH):
        yield [_message(datum) for datum in data[first : first + _BATCH]]


def _message(datum: Datum) -> dict[str, Any]:
    """Return a datum of the API."""
    dimensions = [{"Name": name, "Value": value} for name, value in datum.dimensions]
    message = {"MetricName": datum.name, "Unit": datum.unit, "Dimensions": dimensions}
    if len(datum.values) == 1 and datum.counts == (1,):
        return message | {"Value": datum.values[0]}
    return message | {"Values": list(datum.values), "Counts": list(datum.counts)}
