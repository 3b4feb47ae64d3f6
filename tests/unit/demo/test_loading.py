"""Tests of the sample tables in a DynamoDB."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, cast

import aioboto3
import pytest
from boto3.dynamodb.types import TypeDeserializer

from dynamodb_processor_server.demo import loading
from dynamodb_processor_server.demo.backends import Backend, open_backend
from dynamodb_processor_server.demo.failure import DemoFailed
from dynamodb_processor_server.demo.loading import load
from dynamodb_processor_server.demo.sample_table import Item, SampleKey, SampleTable

ITEMS: tuple[Item, ...] = tuple(
    {
        "p": f"p{number % 3}",
        "s": f"{number:03}",
        "q": "q",
        "amount": Decimal("1.50"),
        "raw": b"\x00\xff",
        "tags": {"a", "b"},
        "nested": {"list": [None, True, Decimal(number)]},
    }
    for number in range(60)
)


def sample(name: str) -> SampleTable:
    """Return a small table; each test uses its own name."""
    return SampleTable(name, "", SampleKey("p", "s"), {"by_q": SampleKey("q", "s")}, (), ITEMS)


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    """The embedded DynamoDB."""
    with open_backend("embedded", print) as opened:
        yield opened


async def test_all_items_are_there_as_they_were_given(backend: Backend) -> None:
    """Values of every type are read as they were written."""
    table = sample("whole")
    assert await load(backend, [table]) == backend.region
    assert sorted(await _scan(backend, table), key=lambda item: str(item["s"])) == list(ITEMS)


async def test_loading_again_changes_nothing(backend: Backend) -> None:
    """The tables of an earlier run are used as they are."""
    table = sample("again")
    await load(backend, [table])
    await load(backend, [table])
    assert len(await _scan(backend, table)) == len(ITEMS)


async def test_table_that_was_left_half_full_is_filled(backend: Backend) -> None:
    """An interrupted run does not spoil the next one."""
    table = sample("half")
    begun = SampleTable(table.name, "", table.key, table.indexes, (), ITEMS[:10])
    await load(backend, [begun])
    await load(backend, [table])
    assert len(await _scan(backend, table)) == len(ITEMS)


async def test_table_with_other_keys_is_not_changed(backend: Backend) -> None:
    """An unrelated table of the same name is not written to."""
    table = sample("other")
    await load(backend, [table])
    other = SampleTable(table.name, "", SampleKey("p", "q"), table.indexes, (), ITEMS)
    with pytest.raises(DemoFailed, match=r"dynamodb-processor-demo-other with other keys"):
        await load(backend, [other])


async def test_an_unreachable_dynamodb_is_an_error() -> None:
    """The error has the reason, without a traceback."""
    nowhere = Backend("embedded", "http://127.0.0.1:1", "us-east-1")
    with pytest.raises(DemoFailed, match=r"the sample tables cannot be made: .*127\.0\.0\.1:1"):
        await load(nowhere, [sample("nowhere")])


@dataclass(slots=True)
class Reluctant:
    """A DynamoDB that leaves the first item of a batch unprocessed a number of times."""

    refusals: int
    written: list[Any] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)

    async def batch_write_item(self, **request: Mapping[str, list[Any]]) -> dict[str, Any]:
        """Write all but the first item, or all."""
        ((table, batch),) = request["RequestItems"].items()
        if not self.refusals:
            self.written += batch
            return {"UnprocessedItems": {}}
        self.refusals -= 1
        self.written += batch[1:]
        return {"UnprocessedItems": {table: batch[:1]}}

    def get_paginator(self, _operation: str) -> Reluctant:
        """Return a paginator of scans."""
        return self

    async def paginate(self, **_request: str) -> Any:
        """Yield the one page of a table that stays empty."""
        yield {"Count": 0}

    async def sleep(self, seconds: float) -> None:
        """Record the pause instead of waiting."""
        self.pauses.append(seconds)


async def test_unprocessed_items_are_sent_again() -> None:
    """Unprocessed items of a batch are sent again, after growing pauses."""
    dynamodb = Reluctant(refusals=8)
    await _loading(dynamodb, "slow").fill()
    keys = [request["PutRequest"]["Item"]["s"]["S"] for request in dynamodb.written]
    assert sorted(keys) == [item["s"] for item in ITEMS]
    assert len(dynamodb.pauses) == 8
    assert max(dynamodb.pauses) > min(dynamodb.pauses)


async def test_indexes_that_stay_behind_are_not_waited_for_without_end() -> None:
    """The wait for the indexes ends after a minute."""
    dynamodb = Reluctant(refusals=0)
    with pytest.raises(DemoFailed, match="delete it first"):
        await _loading(dynamodb, "behind").wait_until_full()
    assert sum(dynamodb.pauses) == 60


def _loading(dynamodb: Reluctant, name: str) -> loading._Loading:
    return loading._Loading(cast(Any, dynamodb), sample(name), dynamodb.sleep)


async def _scan(backend: Backend, table: SampleTable) -> list[Item]:
    session = aioboto3.Session()
    async with session.client(
        "dynamodb", region_name=backend.region, endpoint_url=backend.endpoint_url
    ) as client:
        answer = await client.scan(TableName=table.dynamodb_name)
    deserialize = TypeDeserializer().deserialize
    return [{name: deserialize(value) for name, value in item.items()} for item in answer["Items"]]
