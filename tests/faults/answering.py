"""A DynamoDB that answers every request with the same items, faster than DynamoDB Local."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import orjson
from aiohttp import web

_DESCRIPTION = {
    "Table": {
        "TableName": "large",
        "TableStatus": "ACTIVE",
        "AttributeDefinitions": [
            {"AttributeName": "id", "AttributeType": "S"},
            {"AttributeName": "at", "AttributeType": "N"},
        ],
        "KeySchema": [
            {"AttributeName": "id", "KeyType": "HASH"},
            {"AttributeName": "at", "KeyType": "RANGE"},
        ],
    }
}
# Bytes that one answer to BatchGetItem holds at most.
_ANSWER_BYTES: Final = 16 * 1024 * 1024
_UNITS: Final = 49.0  # An eventually consistent read of 390 KB.


@asynccontextmanager
async def answering(items: Sequence[Any]) -> AsyncIterator[str]:
    """Serve them for the time of the `async with`; gives the endpoint URL.

    Each query finds all of them, and each key, of any value, has the first one.
    """
    count = len(items)
    consumed = {"TableName": "large", "CapacityUnits": _UNITS * count}
    found = {"Items": items, "Count": count, "ScannedCount": count, "ConsumedCapacity": consumed}
    answers = {"Query": orjson.dumps(found), "DescribeTable": orjson.dumps(_DESCRIPTION)}

    async def answer(request: web.Request) -> web.Response:
        asked = await request.read()
        operation = request.headers["X-Amz-Target"].rpartition(".")[2]
        body = _batch(asked, items[0]) if operation == "BatchGetItem" else answers[operation]
        return web.Response(body=body, content_type="application/x-amz-json-1.0")

    app = web.Application()
    app.router.add_post("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


def _batch(asked: bytes, item: Any) -> bytes:
    """Return the answer to a BatchGetItem: as many keys as 16 MB hold, and the others."""
    wanted = orjson.loads(asked)["RequestItems"]["large"]
    keys = wanted["Keys"]
    fitting = max(1, _ANSWER_BYTES // len(orjson.dumps(item)))
    left = {"large": {**wanted, "Keys": keys[fitting:]}} if keys[fitting:] else {}
    found = [{**item, **key} for key in keys[:fitting]]
    consumed = [{"TableName": "large", "CapacityUnits": _UNITS * len(found)}]
    answer = {"Responses": {"large": found}, "UnprocessedKeys": left, "ConsumedCapacity": consumed}
    return orjson.dumps(answer)
