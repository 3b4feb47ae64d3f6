"""The Python client and `ddbq` against a running server."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest

from dynamodb_processor_client import (
    AccessPath,
    Budget,
    CacheMode,
    CachePolicy,
    FailedPrecondition,
    Query,
    QueryClient,
)
from tests.support.event_service import READER
from tests.support.events import LONG, LONG_ITEMS, SHORT_ITEMS, USERS
from tests.support.processes import ServerProcess


@pytest.fixture
async def client(service: ServerProcess) -> AsyncIterator[QueryClient]:
    """A client of the server."""
    async with QueryClient(service.address, api_key=READER.text) as client:
        yield client


async def test_a_count_is_the_number_of_the_items(client: QueryClient) -> None:
    """A count is exact at once, up to a number, and in budgeted pages."""
    whole = await client.count(Query("events", "user_id = :u", u=LONG))
    assert (whole.value, whole.exact) == (LONG_ITEMS, True)
    bounded = await client.count(Query("events", "user_id = :u", u=LONG), up_to=1_000)
    assert (bounded.value, bounded.exact) == (1_000, False)
    values: list[int] = []
    token = ""
    while not values or token:
        step = await client.count(
            Query("events", "user_id = :u", u=LONG),
            page_token=token,
            budget=Budget(max_scanned_items=1_500),
            cache=CachePolicy(CacheMode.BYPASS),
        )
        values.append(step.value)
        token = step.next_page_token
    assert values == [1_500, 3_000, 4_500, 5_000]


async def test_any_number_of_items_is_got_in_order(client: QueryClient) -> None:
    """Items come in the order of their keys over several calls, missing ones included."""
    wanted = [(user, number) for number in range(0, SHORT_ITEMS + 5, 3) for user in USERS]
    found = await client.get(
        "events", [{"user_id": user, "seq": number} for user, number in wanted], projection=["seq"]
    )
    assert found == [
        {"seq": Decimal(number)} if number < SHORT_ITEMS else None for _, number in wanted
    ]
    assert len(wanted) > 200


async def test_an_explanation_names_the_index_of_a_page(client: QueryClient) -> None:
    """An explanation names the index that a page reads."""
    asked = ("events", "system_id = 's-3' AND seq > 10 AND action = 'read'")
    explanation = await client.explain(Query(*asked))
    assert (explanation.path, explanation.index) == (AccessPath.GLOBAL_INDEX, "by_system")
    assert explanation.key_condition == "system_id = 's-3' AND seq > 10"
    assert explanation.filter_expression == "action = 'read'"
    assert {other.index for other in explanation.rejected} == {"@table"}
    page = await client.query(Query(*asked))
    assert page.stats.index_used == explanation.index
    with pytest.raises(FailedPrecondition):
        await client.explain(Query("events", "action = 'read'"))


async def test_the_command_counts_gets_and_explains(service: ServerProcess) -> None:
    """The command works in a shell."""

    async def ddbq(*arguments: str, code: int = 0) -> str:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "dynamodb_processor_client.command", *arguments),
            env={**os.environ, "DDBQ_TARGET": service.address, "DDBQ_API_KEY": READER.text},
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
        assert process.returncode == code
        return output.decode()

    assert await ddbq("count", "events", "user_id = :u", "-p", f"u={LONG}") == f"{LONG_ITEMS}\n"
    got = await ddbq(
        *("get", "events", "--project", "action"),
        *("--key", "user_id=u-1", "seq:=1", "--key", "user_id=u-1", "seq:=4711"),
        code=1,  # One of the items is missing.
    )
    assert got.splitlines() == ['{"action": "read"}', "null"]
    assert '"GLOBAL_INDEX"' in await ddbq("explain", "events", "system_id = 's-3'")
