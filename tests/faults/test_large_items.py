"""Items of nearly 400 KB of every type: all methods read them, and memory stays in bounds."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from dynamodb_processor.v1.query_pb2 import CACHE_MODE_BYPASS, CachePolicy
from dynamodb_processor.v1.query_service_pb2 import (
    BatchGetItemsRequest,
    QueryRequest,
    StreamQueryRequest,
)
from dynamodb_processor.v1.query_service_pb2_grpc import QueryServiceStub
from dynamodb_processor.v1.value_pb2 import AttributeValue, Item
from tests.faults.answering import answering
from tests.support.access import ApiKey, keys_file
from tests.support.channels import Caller, open_caller
from tests.support.conditions import WireItem
from tests.support.datasets import Schema
from tests.support.dynamodb import create_table, open_client
from tests.support.large_items import SHORT, VALUES, put_large_item
from tests.support.lengths import FULL, at_length
from tests.support.memory import peak_mebibytes, resident_mebibytes
from tests.support.messages import from_item, spec
from tests.support.oracle import canonical_item
from tests.support.processes import ServerProcess, served, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

_KINDS: Final = tuple(VALUES) if FULL else SHORT
_AT_ONCE: Final = 20
_KEYS: Final = 100
_MEBIBYTES_EACH: Final = 40
# Seconds. DynamoDB Local takes several to write out an item of numbers, and the server some to read
# it; short runs share the cores with other programs.
_DEADLINE: Final = at_length(1_000.0, 300.0)
_READY_TIMEOUT: Final = 120.0  # As DynamoDB Local is busy for a while after such writes.
_READER: Final = ApiKey("reader")
_BYPASS: Final = CachePolicy(mode=CACHE_MODE_BYPASS)
_CATALOG: Final = {"tables": {"large": {"table": "large"}}}
_PATIENT: Final = (
    f"--backend-read-timeout={_DEADLINE}",
    f"--shared-read-timeout={_DEADLINE}",
    f"--unary-deadline={_DEADLINE}",
)


@pytest.fixture(scope="module")
def large(dynamodb_local: str) -> Iterator[tuple[str, dict[str, WireItem]]]:
    """A table with one item of each kind, and the items."""
    table = f"faults-large-{uuid.uuid4().hex[:8]}"
    client = open_client(dynamodb_local)
    create_table(client, Schema(table, "id", "at", (), {"id": "S", "at": "N"}))
    yield table, {kind: put_large_item(client, table, kind) for kind in _KINDS}
    client.delete_table(TableName=table)
    client.close()


@pytest.fixture(scope="module")
def server(
    dynamodb_local: str,
    large: tuple[str, dict[str, WireItem]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ServerProcess]:
    """A server of that table that waits for DynamoDB Local."""
    catalog = {"tables": {"large": {"table": large[0]}}}
    directory = tmp_path_factory.mktemp("large")
    keys = keys_file(_READER)
    with served(
        catalog,
        keys,
        directory,
        endpoint_url=dynamodb_local,
        args=_PATIENT,
        ready_timeout=_READY_TIMEOUT,
    ) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def caller(server: ServerProcess) -> AsyncIterator[Caller]:
    """A caller of it, with gRPC's usual limit on received messages."""
    async with open_caller(server.address, _READER.text) as opened:
        yield opened


@pytest.mark.parametrize("kind", _KINDS)
async def test_an_item_of_any_type_is_read_by_every_method(
    server: ServerProcess, caller: Caller, large: tuple[str, dict[str, WireItem]], kind: str
) -> None:
    """Query, StreamQuery and BatchGetItems return the item as it was written."""
    query = spec("large", "id = :i", {"i": {"S": kind}})
    page = await caller.query(QueryRequest(query=query, cache=_BYPASS), deadline=_DEADLINE)
    messages = [
        message
        async for message in caller.stream(StreamQueryRequest(query=query), deadline=_DEADLINE)
    ]
    key = Item(attributes={"id": AttributeValue(s=kind), "at": AttributeValue(n="0")})
    request = BatchGetItemsRequest(table="large", keys=[key])
    stub = QueryServiceStub(caller.channel)
    batch = await stub.BatchGetItems(request, metadata=caller.metadata, timeout=_DEADLINE)
    expected = canonical_item(large[1][kind])
    streamed = [item for message in messages for item in message.items]
    for (item,) in (page.items, streamed, [result.item for result in batch.results]):
        assert canonical_item(from_item(item)) == expected


@pytest.mark.parametrize(
    "kind", ["string", "numbers of 126 digits", *(["three at a time"] if FULL else [])]
)
async def test_reads_of_large_items_at_once_take_bounded_memory(
    tmp_path: Path, kind: str, report: Callable[[str, str, str], None]
) -> None:
    """Twenty of them take at most twenty times 40 MB, however DynamoDB writes them out."""
    items = [_item(kind)] * (3 if kind == "three at a time" else 1)
    query = spec("large", "id = :i", {"i": {"S": "a"}})
    request = QueryRequest(query=query, cache=_BYPASS)
    async with (
        answering(items) as endpoint,
        serving(
            _CATALOG, keys_file(_READER), tmp_path, endpoint_url=endpoint, args=_PATIENT
        ) as server,
        open_caller(server.address, _READER.text) as caller,
    ):
        before = resident_mebibytes(server.process.pid)
        pages = await asyncio.gather(
            *(caller.query(request, deadline=_DEADLINE) for _ in range(_AT_ONCE))
        )
        grown = peak_mebibytes(server.process.pid) - before
    report(
        f"{_AT_ONCE} reads of 390 KB at once: {kind}",
        f"RSS + {_AT_ONCE} x {_MEBIBYTES_EACH} MB at most",
        f"+{grown:.0f} MB, {pages[0].ByteSize() / 1e6:.1f} MB a message",
    )
    assert all(page.items for page in pages)
    assert grown <= _AT_ONCE * _MEBIBYTES_EACH


@pytest.mark.parametrize("kind", ["string", *(["numbers of 126 digits"] if FULL else [])])
async def test_batches_of_large_items_at_once_take_bounded_memory(
    tmp_path: Path, kind: str, report: Callable[[str, str, str], None]
) -> None:
    """Twenty requests for a hundred of them each take at most twenty times 40 MB."""
    keys = [
        Item(attributes={"id": AttributeValue(s=str(number)), "at": AttributeValue(n="0")})
        for number in range(_KEYS)
    ]
    request = BatchGetItemsRequest(table="large", keys=keys)
    async with (
        answering([_item(kind)]) as endpoint,
        serving(
            _CATALOG, keys_file(_READER), tmp_path, endpoint_url=endpoint, args=_PATIENT
        ) as server,
        open_caller(server.address, _READER.text) as caller,
    ):
        stub = QueryServiceStub(caller.channel)
        before = resident_mebibytes(server.process.pid)
        answers = await asyncio.gather(
            *(
                stub.BatchGetItems(request, metadata=caller.metadata, timeout=_DEADLINE)
                for _ in range(_AT_ONCE)
            )
        )
        grown = peak_mebibytes(server.process.pid) - before
    found = [answer.stats.items_returned for answer in answers]
    units = sum(answer.stats.read_units for answer in answers)
    report(
        f"{_AT_ONCE} BatchGetItems of {_KEYS} x 390 KB at once: {kind}",
        f"RSS + {_AT_ONCE} x {_MEBIBYTES_EACH} MB at most",
        f"+{grown:.0f} MB, {min(found)} items or more and {units / _AT_ONCE:.0f} units each",
    )
    assert min(found) >= 1
    assert grown <= _AT_ONCE * _MEBIBYTES_EACH


def _item(kind: str) -> WireItem:
    item = {"id": {"S": "a"}, "at": {"N": "0"}, "data": VALUES["string"](390_000)}
    if kind != "string":
        item["data"] = {"L": [{"N": "1" + "0" * 125}] * 120_000}  # 16 MB of JSON.
    return item
