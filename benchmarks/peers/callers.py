"""Libraries that read DynamoDB in the caller's own process, each as its documentation shows it.

Arguments are the library, the endpoint and the table. Each line of standard input has a number of
concurrent callers and seconds; the answer is a line of JSON with the pages that were read, and the
seconds that passed.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from itertools import count, islice
from typing import Any, Final

import aiobotocore.session
import aiohttp
import boto3
import uvloop
from aiodynamo.client import Client
from aiodynamo.credentials import Credentials
from aiodynamo.expressions import HashKey, RangeKey
from aiodynamo.http.aiohttp import AIOHTTP
from botocore.config import Config
from pynamodb.attributes import (
    BooleanAttribute,
    NumberAttribute,
    UnicodeAttribute,
    UnicodeSetAttribute,
)
from pynamodb.models import Model
from yarl import URL

REGION: Final = "eu-west-1"
START, END = "2026-01-01T00:00:00.000Z", "2026-01-13T12:00:00.000Z"
PAGE_SIZE: Final = 100
MOST_CALLERS: Final = 500

#: Reads one page, of the next user, or all pages of a traversal; returns their number.
Read = Callable[[str], int]
ReadAsync = Callable[[str], Awaitable[int]]

_users = (f"user-{number:09d}" for number in count())


def _query(user: str, table: str) -> dict[str, Any]:
    return {
        "TableName": table,
        "KeyConditionExpression": "user_id = :user AND occurred_at BETWEEN :start AND :end",
        "ExpressionAttributeValues": {
            ":user": {"S": user},
            ":start": {"S": START},
            ":end": {"S": END},
        },
    }


async def aiobotocore_query(stack: AsyncExitStack, endpoint_url: str, table: str) -> ReadAsync:
    """Query with aiobotocore's client and its default parser."""
    session = aiobotocore.session.get_session()
    config = Config(max_pool_connections=MOST_CALLERS)
    client = await stack.enter_async_context(
        session.create_client(
            "dynamodb", region_name=REGION, endpoint_url=endpoint_url, config=config
        )
    )

    async def read(user: str) -> int:
        await client.query(**_query(user, table), Limit=PAGE_SIZE)
        return 1

    return read


async def aiodynamo_query(stack: AsyncExitStack, endpoint_url: str, table: str) -> ReadAsync:
    """Query with aiodynamo over aiohttp."""
    connector = aiohttp.TCPConnector(limit=MOST_CALLERS)
    session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
    events = Client(AIOHTTP(session), Credentials.auto(), REGION, URL(endpoint_url)).table(table)

    async def read(user: str) -> int:
        condition = HashKey("user_id", user) & RangeKey("occurred_at").between(START, END)
        await events.query_single_page(condition, limit=PAGE_SIZE)
        return 1

    return read


def boto3_query(endpoint_url: str, table: str) -> Read:
    """Query with boto3's client."""
    client = boto3.client("dynamodb", region_name=REGION, endpoint_url=endpoint_url)

    def read(user: str) -> int:
        client.query(**_query(user, table), Limit=PAGE_SIZE)
        return 1

    return read


def boto3_paginator(endpoint_url: str, table: str) -> Read:
    """Read all pages with boto3's paginator."""
    client = boto3.client("dynamodb", region_name=REGION, endpoint_url=endpoint_url)

    def read(user: str) -> int:
        pages = client.get_paginator("query").paginate(
            **_query(user, table), PaginationConfig={"PageSize": PAGE_SIZE}
        )
        return sum(1 for _ in pages)

    return read


def pynamodb_query(endpoint_url: str, table: str) -> Read:
    """Query with a model of PynamoDB."""

    class Event(Model):  # type: ignore[misc]  # no PynamoDB where types are checked
        class Meta:
            table_name = table
            region = REGION
            host = endpoint_url

        user_id = UnicodeAttribute(hash_key=True)
        occurred_at = UnicodeAttribute(range_key=True)
        event_id = UnicodeAttribute()
        system_id = UnicodeAttribute()
        action = UnicodeAttribute()
        resource = UnicodeAttribute()
        address = UnicodeAttribute()
        duration_ms = NumberAttribute()
        succeeded = BooleanAttribute()
        tags = UnicodeSetAttribute()

    def read(user: str) -> int:
        found = Event.query(user, Event.occurred_at.between(START, END), page_size=PAGE_SIZE)
        list(islice(found, PAGE_SIZE))
        return 1

    return read


_SYNC: Final = {
    "boto3": boto3_query,
    "boto3_paginator": boto3_paginator,
    "pynamodb": pynamodb_query,
}
_ASYNC: Final = {"aiobotocore": aiobotocore_query, "aiodynamo": aiodynamo_query}


def _run_threads(read: Read, callers: int, seconds: float) -> int:
    until = time.monotonic() + seconds

    def repeat() -> int:
        pages = 0
        while time.monotonic() < until:
            pages += read(next(_users))
        return pages

    if callers == 1:
        return repeat()
    with ThreadPoolExecutor(callers) as threads:
        return sum(future.result() for future in [threads.submit(repeat) for _ in range(callers)])


async def _run_tasks(read: ReadAsync, callers: int, seconds: float) -> int:
    until = time.monotonic() + seconds

    async def repeat() -> int:
        pages = 0
        while time.monotonic() < until:
            pages += await read(next(_users))
        return pages

    return sum(await asyncio.gather(*(repeat() for _ in range(callers))))


async def _serve_async(library: str, endpoint_url: str, table: str) -> None:
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        read = await _ASYNC[library](stack, endpoint_url, table)
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            callers, seconds = line.split()
            began = time.monotonic()
            _report(await _run_tasks(read, int(callers), float(seconds)), began)


def _serve_sync(library: str, endpoint_url: str, table: str) -> None:
    read = _SYNC[library](endpoint_url, table)
    for line in sys.stdin:
        callers, seconds = line.split()
        began = time.monotonic()
        _report(_run_threads(read, int(callers), float(seconds)), began)


def _report(pages: int, began: float) -> None:
    print(json.dumps({"calls": pages, "elapsed": time.monotonic() - began}), flush=True)


if __name__ == "__main__":
    if sys.argv[1] in _ASYNC:
        uvloop.run(_serve_async(*sys.argv[1:]))
    else:
        _serve_sync(*sys.argv[1:])
