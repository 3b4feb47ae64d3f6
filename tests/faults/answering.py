"""A DynamoDB that gives every query the same items, written out faster than DynamoDB Local does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

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


@asynccontextmanager
async def answering(items: Sequence[Any]) -> AsyncIterator[str]:
    """Serve them for the time of the `async with`; gives the endpoint URL."""
    count = len(items)
    consumed = {"TableName": "large", "CapacityUnits": 49.0 * count}
    found = {"Items": items, "Count": count, "ScannedCount": count, "ConsumedCapacity": consumed}
    answers = {"Query": orjson.dumps(found), "DescribeTable": orjson.dumps(_DESCRIPTION)}

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        operation = request.headers["X-Amz-Target"].rpartition(".")[2]
        return web.Response(body=answers[operation], content_type="application/x-amz-json-1.0")

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
