"""Writes that bypass the service, and a cache invalidated from the table's stream."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from dynamodb_processor.v1.query_pb2 import CacheStatus
from dynamodb_processor.v1.query_service_pb2 import QueryRequest
from tests.support.channels import Caller, open_caller
from tests.support.datasets import Index, Schema
from tests.support.dynamodb import create_table, open_client
from tests.support.event_service import ENVIRONMENT, KEYS, READER
from tests.support.lengths import at_length, timely
from tests.support.messages import from_item, spec
from tests.support.processes import ServerProcess, served
from tests.support.running import eventually

SCHEMA: Final = Schema(
    "e2e-rooms",
    "room",
    "number",
    (
        Index("by_state", True, ("room",), ("state",)),
        Index("by_owner", False, ("owner",), ("number",)),
        Index("by_place", False, ("zone", "state"), ("number",)),
    ),
    {"room": "S", "number": "N", "state": "S", "owner": "S", "zone": "S"},
)
ROOMS: Final = tuple(f"r-{number}" for number in range(8))
OWNERS: Final = tuple(f"o-{number}" for number in range(6))
STATES: Final = ("free", "taken")
ZONES: Final = ("n", "s")
NUMBERS: Final = 8
WRITES: Final = at_length(1_000, 10_000)
WRITERS: Final = 4
READERS: Final = 6
CATALOG: Final = {
    "tables": {"rooms": {"table": SCHEMA.table, "cache_ttl": 300, "invalidate_from_stream": True}}
}
# Reads of DynamoDB Local are never stale, so pages are cached without a wait.
ARGUMENTS: Final = (
    "--single-replica", "--stream-poll-interval=0.2", "--cache-quarantine=0",
    "--cache-index-quarantine=0", f"--stream-max-lag={at_length(600, 10)}",
)  # fmt: skip
_RECENT: Final = 20  # Of an item's writes: all older ones have long been seen.
_Key = tuple[str, int]
_Item = Mapping[str, Any]


@dataclass(slots=True)
class Write:
    """One write: the time of its acknowledgement, and of the last read that missed it."""

    version: int
    acknowledged: float
    last_missed: float = 0.0

    @property
    def lag(self) -> float:
        """Return the seconds for which some reads missed it."""
        return max(0.0, self.last_missed - self.acknowledged)


@dataclass
class Rooms:
    """The contents of the table; each item has one writer. `writes` are each item's, in order."""

    client: Any
    items: dict[_Key, _Item] = field(default_factory=dict)
    writes: dict[_Key, list[Write]] = field(default_factory=dict)
    version: int = 0

    async def write(self, random: Random, rooms: tuple[str, ...]) -> None:
        """Put or delete an item of some rooms; every put has another version."""
        key = room, number = random.choice(rooms), random.randrange(NUMBERS)
        self.version += 1
        version = self.version
        names = {"room": {"S": room}, "number": {"N": str(number)}}
        if key in self.items and random.random() < 0.2:
            await self._ask("delete_item", Key=names)
            del self.items[key]
        else:
            item = names | {
                "state": {"S": random.choice(STATES)},
                "owner": {"S": random.choice(OWNERS)},
                "version": {"N": str(version)},
            }
            if random.random() < 0.7:
                item["zone"] = {"S": random.choice(ZONES)}
            await self._ask("put_item", Item=item)
            self.items[key] = item
        self.writes.setdefault(key, []).append(Write(version, time.monotonic()))

    async def _ask(self, operation: str, **request: Any) -> None:
        call = getattr(self.client, operation)
        await asyncio.to_thread(call, TableName=SCHEMA.table, **request)

    def look(self, asked: Mapping[str, str], answer: list[_Item], began: float) -> None:
        """Compare an answer with the writes before its read began.

        An answer misses a write if it lacks an item that the write put, or shows one that it
        changed or deleted.
        """
        seen = {_key(item): int(item["version"]["N"]) for item in answer}
        for key, writes in self.writes.items():
            shown = seen.get(key)
            if shown is None:
                item = self.items.get(key)
                missed = writes[-1:] if item is not None and _matches(item, asked) else []
            else:
                missed = [write for write in writes[-_RECENT:] if write.version > shown]
            for write in missed:
                if write.acknowledged < began:
                    write.last_missed = max(write.last_missed, began)


def _key(item: _Item) -> _Key:
    return item["room"]["S"], int(item["number"]["N"])


def _matches(item: _Item, asked: Mapping[str, str]) -> bool:
    return all(item.get(name) == {"S": value} for name, value in asked.items())


def partitions() -> list[tuple[dict[str, str], str]]:
    """Return every partition of every path: its fixed attributes and its index."""
    return [
        *(({"room": room}, "@table") for room in ROOMS),
        *(({"room": room, "state": s}, "by_state") for room, s in product(ROOMS, STATES)),
        *(({"owner": owner}, "by_owner") for owner in OWNERS),
        *(({"zone": zone, "state": s}, "by_place") for zone, s in product(ZONES, STATES)),
    ]


@pytest.fixture(scope="module")
def rooms(dynamodb_local: str) -> Rooms:
    """The table, empty, with a stream."""
    client = open_client(dynamodb_local)
    create_table(client, SCHEMA, "NEW_AND_OLD_IMAGES")
    return Rooms(client)


@pytest.fixture(scope="module")
def service(
    rooms: Rooms, dynamodb_local: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """A server that follows it."""
    directory: Path = tmp_path_factory.mktemp("rooms")
    with served(
        CATALOG, KEYS, directory, endpoint_url=dynamodb_local, args=ARGUMENTS, env=ENVIRONMENT
    ) as server:
        server.wait_for_event("stream_followed")
        yield server


@pytest.fixture
async def caller(service: ServerProcess) -> AsyncIterator[Caller]:
    """A caller of it."""
    async with open_caller(service.address, READER.text) as opened:
        yield opened


async def _ask(caller: Caller, asked: Mapping[str, str], index: str) -> tuple[list[_Item], bool]:
    condition = " AND ".join(f"{name} = '{value}'" for name, value in asked.items())
    page = await caller.query(QueryRequest(query=spec("rooms", condition, index=index)))
    assert not page.next_page_token
    hit = page.cache.status == CacheStatus.CACHE_STATUS_HIT
    return [from_item(item) for item in page.items], hit


def _metric(service: ServerProcess, name: str, labels: str = "") -> float:
    return service.metric(f"stream_{name}", labels)


async def test_no_answer_is_stale_once_the_stream_is_read(
    caller: Caller, service: ServerProcess, rooms: Rooms, report: Callable[[str, str, str], None]
) -> None:
    """Random writes move items between partitions of every path while they are being read."""
    asked = hits = 0
    writing = True

    async def read(seed: int) -> None:
        nonlocal asked, hits
        random = Random(seed)
        while writing:
            about, index = random.choice(partitions())
            began = time.monotonic()
            answer, hit = await _ask(caller, about, index)
            rooms.look(about, answer, began)
            asked += 1
            hits += hit
            await asyncio.sleep(0.01)  # The writers need the machine as well.

    async def write(number: int) -> None:
        random = Random(number)
        own = ROOMS[number::WRITERS]
        for _ in range(WRITES // WRITERS):
            await rooms.write(random, own)
            await asyncio.sleep(random.expovariate(1 / 0.03))

    readers = [asyncio.create_task(read(100 + number)) for number in range(READERS)]
    await asyncio.gather(*(write(number) for number in range(WRITERS)))
    count = 'record_age_seconds_count{table="rooms"}'
    await eventually(lambda: _metric(service, count) >= WRITES)
    writing = False
    await asyncio.gather(*readers)

    stale = 0
    for _, (about, index) in product(range(2), partitions()):
        answer, _ = await _ask(caller, about, index)
        wanted = [item for item in rooms.items.values() if _matches(item, about)]
        stale += sorted(answer, key=_key) != sorted(wanted, key=_key)
    lags = sorted(write.lag for writes in rooms.writes.values() for write in writes)
    p50, p99 = (lags[int(len(lags) * share)] for share in (0.5, 0.99))
    report(
        "stream invalidation",
        "0 stale answers once caught up, TTL 300 s",
        f"{WRITES} writes, {asked} reads of which {hits / asked:.0%} cached; "
        f"seen by all after {p50:.3f} s (p50), {p99:.3f} s (p99), {lags[-1]:.3f} s (all); "
        f"once caught up, {stale} stale answers",
    )
    assert stale == 0
    assert hits > asked / 10
    assert timely(p99, 3.0)
    assert _metric(service, "table_invalidations_total", 'reason="started",table="rooms"') == 1
    assert _metric(service, "table_invalidations_total", 'reason="behind",table="rooms"') == 0
    assert timely(_metric(service, "behind_seconds", 'table="rooms"'), 2.0)
