"""Global indexes that follow their table late, as DynamoDB's do and DynamoDB Local's never.

An index shows the items of a second table, a copy of the first one when the index last caught up.
So cursors, filters and projections are DynamoDB's own.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio

from dynamodb_processor.v1 import query_pb2
from dynamodb_processor.v1.query_service_pb2 import QueryResponse
from tests.faults.conftest import open_ground
from tests.faults.stub import Ask, Reply, reply_with
from tests.support.conditions import WireItem
from tests.support.datasets import Index, Schema
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.lengths import PATIENCE, at_length
from tests.support.running import Service, make_key, numbers, query_spec

_QUARANTINE: Final = at_length(6.0, 3.0)  # Seconds, in which a slow machine reads three pages.
_BYPASS: Final = query_pb2.CachePolicy(mode=query_pb2.CACHE_MODE_BYPASS)
_INDEXES: Final = (
    Index("by_state", False, ("state",), ("due",)),
    Index("by_owner", False, ("owner",), ("due",), "KEYS_ONLY"),
)
_TYPES: Final = {"job": "N", "state": "S", "owner": "S", "due": "N"}
_JOBS: Final = range(1, 13)


def _job(number: int, **changed: Any) -> WireItem:
    """Return a job, due in the order of their numbers."""
    return {
        "job": {"N": str(number)},
        "state": {"S": "open"},
        "owner": {"S": "ann"},
        "due": {"N": str(number)},
        "note": {"S": "fine"},
        **changed,
    }


@dataclass
class LateIndexes:
    """A table of jobs, and the state that its indexes show until they `catch_up`."""

    client: Any
    table: str
    shown: str
    pending: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    async def answer(self, request: dict[str, Any], ask: Ask) -> Reply:
        """Return the answer to a Query; that of an index is of the state it shows."""
        table = self.shown if "IndexName" in request else self.table
        return reply_with(await ask({**request, "TableName": table}))

    async def put(self, job: WireItem) -> None:
        """Write a job to the table."""
        await self._write("put_item", Item=job)

    async def delete(self, number: int) -> None:
        """Delete a job from the table."""
        await self._write("delete_item", Key={"job": {"N": str(number)}})

    async def catch_up(self) -> None:
        """Let the indexes show the written items."""
        for operation, request in self.pending:
            await self._ask(self.shown, operation, request)
        self.pending.clear()

    async def _write(self, operation: str, **request: Any) -> None:
        await self._ask(self.table, operation, request)
        self.pending.append((operation, request))

    async def _ask(self, table: str, operation: str, request: dict[str, Any]) -> None:
        await asyncio.to_thread(getattr(self.client, operation), TableName=table, **request)


@pytest.fixture
def late(dynamodb_local: str) -> Iterator[LateIndexes]:
    """Twelve jobs, and indexes that show them."""
    name = f"faults-late-{uuid.uuid4().hex[:8]}"
    client = open_client(dynamodb_local)
    for table in (name, f"{name}-shown"):
        create_table(client, Schema(table, "job", None, _INDEXES, _TYPES))
        put_items(client, table, map(_job, _JOBS))
    yield LateIndexes(client, name, f"{name}-shown")
    client.close()


@pytest_asyncio.fixture
async def service(late: LateIndexes, tmp_path: Path, dynamodb_local: str) -> AsyncIterator[Service]:
    """A server that sees these indexes."""
    async with open_ground(
        tmp_path,
        dynamodb_local,
        late.table,
        config={"sparse": "allow"},
        acts={"Query": late.answer},
        keys=[make_key("admin", roles=["reader", "admin"])],
        cache_index_quarantine=_QUARANTINE,
    ) as ground:
        yield ground.service


async def test_an_index_is_not_cached_before_it_has_had_time_to_follow(
    late: LateIndexes, service: Service, report: Callable[[str, str, str], None]
) -> None:
    """A page read after an invalidation is served, and cached once the quarantine is over."""

    async def ask() -> QueryResponse:
        return await service.query(query_spec("events", "state = 'open'", index="by_state"))

    await ask()
    cached = await ask()
    await late.put(_job(3, state={"S": "done"}))
    began = time.monotonic()
    await service.invalidate("events", state="open")
    old = [await ask() for _ in range(3)]
    await late.catch_up()
    new = [await ask()]
    async with asyncio.timeout(PATIENCE):
        while not new[-1].cache.HasField("expires_in"):
            new.append(await ask())
    seconds = time.monotonic() - began
    last = await ask()

    showing = [3 in numbers(page.items, "job") for page in (*old, *new, last)]
    report(
        "an index lags behind an invalidation",
        f"nothing cached for {_QUARANTINE} s, what is cached then is new",
        f"{sum(showing)} old and {len(new)} new pages read, the last of them cached "
        f"{seconds:.1f} s after; then a {query_pb2.CacheStatus.Name(last.cache.status)}",
    )
    assert cached.cache.status == query_pb2.CACHE_STATUS_HIT
    assert showing == [True] * len(old) + [False] * (len(new) + 1)
    assert {page.cache.status for page in (*old, *new)} == {query_pb2.CACHE_STATUS_MISS}
    assert not any(page.cache.HasField("expires_in") for page in old)
    assert seconds >= _QUARANTINE
    assert last.cache.status == query_pb2.CACHE_STATUS_HIT


async def _read_pages(service: Service, token: str = "") -> tuple[list[list[int]], list[str]]:
    """Return the jobs of ann's that are fine, by page, and the tokens."""
    spec = query_spec("events", "owner = 'ann' AND note = 'fine'", index="by_owner")
    pages: list[list[int]] = []
    tokens = [token]
    while not pages or tokens[-1]:
        page = await service.query(spec, page_size=2, page_token=tokens[-1], cache=_BYPASS)
        pages.append(numbers(page.items, "job"))
        tokens.append(page.next_page_token)
    return pages, tokens[1:]


async def test_items_that_an_index_still_shows_are_checked_again(
    late: LateIndexes, service: Service, report: Callable[[str, str, str], None]
) -> None:
    """Items that no longer match are dropped; the others keep their order."""
    whole, tokens = await _read_pages(service)
    await late.put(_job(3, owner={"S": "bob"}))
    await late.delete(4)
    await late.put(_job(5, due={"N": "50"}))
    await late.put(_job(6, note={"S": "void"}))
    await late.put(_job(7, state={"S": "done"}))
    await late.put(_job(13))
    lagging, later = await _read_pages(service, tokens[0])
    await late.catch_up()
    followed, _ = await _read_pages(service, later[0])
    anew, _ = await _read_pages(service)
    report(
        "items change while an index lags: 4 of 12 no longer match, 1 is new",
        "dropped until the index follows; of others none lost, none twice; pages of 2",
        f"after page 1 {lagging}; after page 2, once it follows, {followed}; anew {anew}",
    )
    assert whole == [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10], [11, 12]]
    assert lagging == [[7, 8], [9, 10], [11, 12]]
    assert followed == [[9, 10], [11, 12], [13, 5]]
    assert anew == [[1, 2], [7, 8], [9, 10], [11, 12], [13, 5]]
