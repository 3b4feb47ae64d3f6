"""Fifty partitions behind one cursor: exact order in pages of any size, after any cut."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from random import Random
from typing import Final, TypeAlias

import pytest

from dynamodb_processor.v1.query_pb2 import CacheMode, CachePolicy, QuerySpec
from dynamodb_processor.v1.query_service_pb2 import StreamQueryRequest, StreamQueryResponse
from tests.support.access import keys_file
from tests.support.channels import Caller, open_caller
from tests.support.conditions import WireItem
from tests.support.datasets import Schema
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.event_service import ENVIRONMENT, READER
from tests.support.lengths import at_length
from tests.support.messages import spec
from tests.support.processes import served

PARTITIONS: Final = 50
EACH: Final = at_length(500, 2_000)
SCHEMA: Final = Schema("fan-out", "device", "at", (), {"device": "S", "at": "N"})
SIZES: Final = (7, 100, 1_000)
# Seeded cuts of each pass besides its first and last message; in a full run 100 for each page size.
CUTS: Final = at_length(15, 50)
SEED: Final = 20_130_101
# A resumed stream is followed over at least this many items.
FOLLOWED: Final = 300

ItemKey: TypeAlias = tuple[str, int]


def _make_keys(random: Random) -> list[ItemKey]:
    """Return keys of items: each device has two moments of three, so nearly all tie."""
    return [
        (f"d{number:02}", at)
        for number in range(PARTITIONS)
        for at in random.sample(range(EACH * 3 // 2), EACH)
    ]


def _make_items(item_keys: list[ItemKey]) -> Iterator[WireItem]:
    for device, at in item_keys:
        yield {"device": {"S": device}, "at": {"N": str(at)}}


@dataclass(frozen=True, slots=True)
class _Service:
    """The table's items in the order in which the query names the devices, and the server."""

    devices: tuple[str, ...]
    item_keys: tuple[ItemKey, ...]
    address: str

    def query(self, *, descending: bool) -> QuerySpec:
        """Return the query for everything."""
        listed = ", ".join(f"'{device}'" for device in self.devices)
        return spec("fan-out", f"device IN ({listed})", descending=descending)

    def expected(self, *, descending: bool) -> list[ItemKey]:
        """Return the expected answer: by sort key, ties in the order of the devices."""
        rank = {device: number for number, device in enumerate(self.devices)}
        by_device = sorted(self.item_keys, key=lambda item_key: rank[item_key[0]])
        return sorted(by_device, key=lambda item_key: item_key[1], reverse=descending)


@pytest.fixture(scope="module")
def service(dynamodb_local: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Service]:
    """A server over one table of 100,000 small items, in a short run 25,000."""
    random = Random(SEED)
    item_keys = _make_keys(random)
    client = open_client(dynamodb_local)
    create_table(client, SCHEMA)
    put_items(client, SCHEMA.table, _make_items(item_keys))
    devices = sorted({device for device, _ in item_keys})
    random.shuffle(devices)
    with served(
        {"tables": {"fan-out": {}}},
        keys_file(READER),
        tmp_path_factory.mktemp("fan-out"),
        endpoint_url=dynamodb_local,
        env=ENVIRONMENT,
    ) as server:
        yield _Service(tuple(devices), tuple(item_keys), server.address)


@pytest.fixture
async def caller(service: _Service) -> AsyncIterator[Caller]:
    """A caller of the server."""
    async with open_caller(service.address, READER.text) as opened:
        yield opened


def _keys_of(message: StreamQueryResponse) -> list[ItemKey]:
    return [(item.attributes["device"].s, int(item.attributes["at"].n)) for item in message.items]


@dataclass(slots=True)
class _Pass:
    """A complete read: its items, the ends of its messages, and the tokens to resume at."""

    item_keys: list[ItemKey] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    evaluated: int = 0
    requests: int = 0


def _messages(
    caller: Caller, query: QuerySpec, page_size: int, token: str
) -> AsyncGenerator[StreamQueryResponse]:
    cache = CachePolicy(mode=CacheMode.CACHE_MODE_BYPASS)
    return caller.stream(
        StreamQueryRequest(query=query, page_size=page_size, resume_token=token, cache=cache)
    )


async def _traverse(caller: Caller, query: QuerySpec, page_size: int) -> _Pass:
    """Stream everything; a call that its deadline ends is continued."""
    whole = _Pass()
    while not whole.tokens or whole.tokens[-1]:
        token = whole.tokens[-1] if whole.tokens else ""
        async with aclosing(_messages(caller, query, page_size, token)) as messages:
            async for message in messages:
                whole.item_keys += _keys_of(message)
                whole.ends.append(len(whole.item_keys))
                whole.tokens.append(message.resume_token)
                whole.evaluated += message.stats.items_scanned
                whole.requests += message.stats.backend_calls
        assert message.last
    return whole


async def _resume_all(
    caller: Caller, query: QuerySpec, page_size: int, tokens: list[str]
) -> list[list[ItemKey]]:
    """Return the items that follow each token, a few streams at a time."""
    gate = asyncio.Semaphore(3)

    async def resume(token: str) -> list[ItemKey]:
        async with gate:
            return await _resume(caller, query, page_size, token)

    return await asyncio.gather(*map(resume, tokens))


async def _resume(caller: Caller, query: QuerySpec, page_size: int, token: str) -> list[ItemKey]:
    """Follow a stream that resumes at a token for some messages, or to its end."""
    item_keys: list[ItemKey] = []
    async with aclosing(_messages(caller, query, page_size, token)) as messages:
        async for message in messages:
            item_keys += _keys_of(message)
            if len(item_keys) >= FOLLOWED:
                return item_keys
    assert message.last
    assert not message.resume_token
    return item_keys


@pytest.mark.parametrize("descending", [False, True], ids=["ascending", "descending"])
@pytest.mark.parametrize("page_size", SIZES)
async def test_order_is_exact_and_every_cut_resumes(
    service: _Service,
    caller: Caller,
    page_size: int,
    descending: bool,
    show_line: Callable[[str], None],
) -> None:
    """Items come once, by sort key, ties by partition, also after any cut."""
    query, right = service.query(descending=descending), service.expected(descending=descending)
    began = time.monotonic()
    whole = await _traverse(caller, query, page_size)
    seconds = time.monotonic() - began
    assert whole.item_keys == right

    last = len(whole.tokens) - 2  # The last message that has a token.
    cuts = [0, last, *Random(SEED + page_size).sample(range(1, last), min(CUTS, last - 1))]
    other = SIZES[(SIZES.index(page_size) + 1) % len(SIZES)]
    resumed = await _resume_all(caller, query, other, [whole.tokens[cut] for cut in cuts])
    wrong = 0
    for cut, item_keys in zip(cuts, resumed, strict=True):
        rest = right[whole.ends[cut] :]
        enough = len(item_keys) >= min(FOLLOWED, len(rest))
        wrong += not (enough and item_keys == rest[: len(item_keys)])
    show_line(
        f"fan-out of {PARTITIONS} partitions in pages of {page_size}, "
        f"{'descending' if descending else 'ascending'}: {len(whole.item_keys)} items in order, "
        f"{len(whole.tokens)} messages, {whole.evaluated} evaluated in {whole.requests} requests, "
        f"{seconds:.1f} s; resumed at {len(cuts)} cuts, {wrong} wrong"
    )
    assert not wrong
