"""Real servers behind a client that routes: DynamoDB is read as if they had one cache."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from dynamodb_processor_client import Query, QueryClient
from tests.support.datasets import Schema
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.lengths import at_length
from tests.support.running import UNLIMITED, make_key, open_service
from tests.support.scraping import scraped_sum

_TABLE: Final = "faults-routing"
_PAGES: Final = at_length(200, 50_000)
_ROUNDS: Final = 2  # of reads of every page
_AT_ONCE: Final = 20


async def test_two_routed_servers_read_each_page_once(
    tmp_path: Path, dynamodb_local: str, report: Callable[[str, str, str], None]
) -> None:
    """Two servers read DynamoDB once for each hot page, as one server with one cache does."""
    table = open_client(dynamodb_local)
    await asyncio.to_thread(create_table, table, Schema(_TABLE, "owner", None, (), {"owner": "S"}))
    items = ({"owner": {"S": f"u-{page}"}} for page in range(_PAGES))
    await asyncio.to_thread(put_items, table, _TABLE, items)
    table.close()
    key = make_key("reader")
    async with AsyncExitStack() as stack:
        servers = []
        for name in ("one", "other"):
            (folder := tmp_path / name).mkdir()
            servers.append(
                await stack.enter_async_context(
                    open_service(
                        folder,
                        dynamodb_local,
                        {"tables": {"pages": {"table": _TABLE, "cache_ttl": 3_600}}},
                        [key],
                        metrics_listen="127.0.0.1:0",
                        rate_classes={"default": UNLIMITED},
                    )
                )
            )
        targets = [server.app.address for server in servers]
        client = await stack.enter_async_context(
            QueryClient(targets, api_key=key.text, affinity=True)
        )
        pages = iter([page for _ in range(_ROUNDS) for page in range(_PAGES)])

        async def work() -> None:
            for page in pages:
                query = Query("pages", "owner = :owner", owner=f"u-{page}")
                assert len((await client.query(query)).items) == 1

        await asyncio.gather(*(work() for _ in range(_AT_ONCE)))
        shares = [
            await asyncio.to_thread(
                scraped_sum,
                f"127.0.0.1:{server.app.metrics_port}",
                "backend_calls_total",
                'outcome="ok",table="pages"',
            )
            for server in servers
        ]
    ratio = sum(shares) / _PAGES
    report(
        f"two servers with routing, {_PAGES:,} hot pages",
        "DynamoDB reads / one big cache <= 1.05",
        f"{sum(shares):,.0f} / {_PAGES:,} = {ratio:.3f}; by server {list(map(int, shares))}",
    )
    assert ratio <= 1.05
    assert min(shares) > _PAGES / 3
