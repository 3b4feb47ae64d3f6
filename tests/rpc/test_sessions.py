"""Sessions of the Python client read their own writes, also from another replica."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from decimal import Decimal
from typing import Any, Final

import pytest
import pytest_asyncio

from dynamodb_processor_client import CacheStatus, Page, Query, QueryClient
from tests.support.access import token_keys
from tests.support.datasets import Schema
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.running import make_key, open_service
from tests.support.threaded_client import FACTORIES

pytestmark = pytest.mark.asyncio(loop_scope="module")

_TABLE: Final = "sessions"
_QUERY: Final = Query("accounts", "account = 'a'")
# Without a shared cache: each replica keeps its own pages.
_CATALOG: Final = {"tables": {"accounts": {"table": _TABLE, "cache_ttl": 300}}}


@pytest.fixture(scope="module")
def table(dynamodb_local: str) -> Iterator[Any]:
    """A function that writes the one item's balance."""
    client = open_client(dynamodb_local)
    create_table(client, Schema(_TABLE, "account", "entry", (), {"account": "S", "entry": "N"}))

    def write(balance: int) -> None:
        item = {"account": {"S": "a"}, "entry": {"N": "1"}, "balance": {"N": str(balance)}}
        put_items(client, _TABLE, [item])

    yield write
    client.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=list(FACTORIES))
async def replicas(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    dynamodb_local: str,
    table: Any,
) -> AsyncIterator[list[QueryClient]]:
    """Clients of two replicas with the same token keys, and of one with another key."""
    table(0)
    ours, key = token_keys("ours"), make_key("reader")
    async with AsyncExitStack() as stack:
        clients = []
        for number, keys in enumerate((ours, ours, token_keys("others"))):
            directory = tmp_path_factory.mktemp(f"replica-{number}")
            service = await stack.enter_async_context(
                open_service(directory, dynamodb_local, _CATALOG, [key], token_keys=keys)
            )
            client = FACTORIES[request.param](service.app.address, api_key=key.text)
            clients.append(await stack.enter_async_context(client))
        yield clients


def balance(page: Page) -> int:
    """Return the balance on a page."""
    (item,) = page.items
    found = item["balance"]
    assert isinstance(found, Decimal)
    return int(found)


async def test_a_session_shows_its_own_write(replicas: list[QueryClient], table: Any) -> None:
    """A read after `wrote` shows the write on each replica; without it the old page is served."""
    here, there, _ = replicas
    table(1)
    for client in (here, there):
        session = client.session()
        session.wrote("accounts")
        assert balance(await session.query(_QUERY)) == 1
    table(2)
    assert balance(await there.query(_QUERY)) == 1
    session = here.session()
    session.wrote("accounts")
    assert balance(await session.query(_QUERY)) == 2
    again = await session.query(_QUERY)
    assert again.cache.status is CacheStatus.HIT
    assert balance(again) == 2


async def test_a_session_never_goes_back_in_time(replicas: list[QueryClient], table: Any) -> None:
    """A read by token shows nothing older than the read before, from whichever replica."""
    here, there, _ = replicas
    for client in (here, there):
        session = client.session()
        session.wrote()
        await session.query(_QUERY)
    table(3)
    session = here.session()
    session.wrote()
    assert balance(await session.query(_QUERY)) == 3
    following = there.session(session.token)
    assert balance(await there.query(_QUERY)) != 3, "the other replica has the older page"
    assert balance(await following.query(_QUERY)) == 3
    assert [item["balance"] async for item in following.stream(_QUERY)] == [3]
    assert (await following.count(_QUERY)).value == 1


async def test_a_session_survives_the_keys_of_its_tokens(
    replicas: list[QueryClient], table: Any
) -> None:
    """A replica that cannot read the tokens gets the time instead, and reads."""
    here, _, other = replicas
    await other.query(_QUERY)
    table(4)
    session = here.session()
    session.wrote()
    assert balance(await session.query(_QUERY)) == 4
    following = other.session(session.token)
    assert balance(await other.query(_QUERY)) != 4
    assert balance(await following.query(_QUERY)) == 4
    assert [item["balance"] async for item in other.session(following.token).stream(_QUERY)] == [4]
