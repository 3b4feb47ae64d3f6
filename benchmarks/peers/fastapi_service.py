"""The two forms of a JSON service with FastAPI: plain, and with cached bytes.

`/plain` returns the items of aioboto3's resource and lets FastAPI encode them. `/cached` keeps the
encoded page for an hour, by its parameters. The first argument is the endpoint of DynamoDB, the
second the table. Prints the port.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import aioboto3
import orjson
import uvicorn
from boto3.dynamodb.conditions import Key
from cachetools import TTLCache
from fastapi import FastAPI, Response

ENDPOINT_URL, TABLE = sys.argv[1:]
PAGES: TTLCache[tuple[str, str, str, int], bytes] = TTLCache(5_000, 3_600)


@asynccontextmanager
async def _with_table(app: FastAPI) -> AsyncIterator[None]:
    async with aioboto3.Session().resource("dynamodb", endpoint_url=ENDPOINT_URL) as dynamodb:
        app.state.table = await dynamodb.Table(TABLE)
        yield


app = FastAPI(lifespan=_with_table)


@app.get("/plain")  # type: ignore[untyped-decorator]  # no FastAPI where types are checked
async def plain(user: str, start: str, end: str, limit: int = 100) -> dict[str, Any]:
    """Return a page as FastAPI encodes it."""
    return {"items": await _items(user, start, end, limit)}


@app.get("/cached")  # type: ignore[untyped-decorator]  # as above
async def cached(user: str, start: str, end: str, limit: int = 100) -> Response:
    """Return a page from the cache, or else read and encode it."""
    key = (user, start, end, limit)
    body = PAGES.get(key)
    if body is None:
        items = await _items(user, start, end, limit)
        body = PAGES[key] = orjson.dumps({"items": items}, default=_as_json)
    return Response(body, media_type="application/json")


async def _items(user: str, start: str, end: str, limit: int) -> list[dict[str, Any]]:
    condition = Key("user_id").eq(user) & Key("occurred_at").between(start, end)
    answer = await app.state.table.query(KeyConditionExpression=condition, Limit=limit)
    items: list[dict[str, Any]] = answer["Items"]
    return items


def _as_json(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return sorted(value)


if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", 0), backlog=2_048)
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(app, access_log=False, log_level="warning")
    uvicorn.Server(config).run(sockets=[listener])
