"""A client of the data plane beside one of aioboto3, for tests that compare their results."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import aioboto3
import orjson

from dynamodb_processor_server.dynamodb.clients import Clients, ClientSettings, _config
from tests.support.dynamodb import REGION
from tests.support.raw_http import RawServer

QUERY: Final[dict[str, Any]] = {
    "TableName": "events",
    "KeyConditionExpression": "#k = :k",
    "ExpressionAttributeNames": {"#k": "k"},
    "ExpressionAttributeValues": {
        ":k": {"B": b"\x00\xff"},
        ":l": {"L": [{"BS": [b"a", b"b"]}, {"M": {"ü": {"S": "\ud83d"}}}]},
    },
    "Limit": 7,
}
WHOLE: Final = b'{"Count":1,"ScannedCount":1,"Items":[{"k":{"B":"AQI="}}]}'
KIND: Final = "com.amazonaws.dynamodb.v20120810#"


@dataclass
class Pair:
    """Our client and a plain one of aioboto3, with the same configuration."""

    ours: Any
    plain: Any

    async def results(self, operation: str, **request: Any) -> tuple[Any, Any]:
        """Return both results of a request, where an exception is a result."""
        return (
            await result_of(getattr(self.ours, operation)(**request)),
            await result_of(getattr(self.plain, operation)(**request)),
        )


async def result_of(call: Any) -> Any:
    """Return the result of a call, or the exception that it raised."""
    try:
        return await call
    except Exception as error:  # noqa: BLE001 - compared by the test
        return error


@asynccontextmanager
async def open_pair(
    url: str | None, region: str | None = REGION, **settings: Any
) -> AsyncIterator[Pair]:
    """Open both clients for an endpoint."""
    chosen = ClientSettings(endpoint_url=url, region=region, **settings)
    plain = aioboto3.Session().client(
        "dynamodb", region_name=region, endpoint_url=url, config=_config(chosen)
    )
    async with Clients(chosen) as clients, plain as client:
        yield Pair(await clients.client(), client)


def local(server: RawServer, scheme: str = "http") -> str:
    """Return the address of a server."""
    return f"{scheme}://127.0.0.1:{server.port}"


def error_body(code: str, **more: Any) -> bytes:
    """Return the body of an error of DynamoDB."""
    return orjson.dumps({"__type": KIND + code, "message": "why", **more})


def without_attempts(answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer without the remark of botocore's retries that they are at their end."""
    metadata = dict(answer["ResponseMetadata"])
    metadata.pop("MaxAttemptsReached", None)
    return {**answer, "ResponseMetadata": metadata}
