"""Batches for one answer: the keys of each request, and the effect of failures."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from dynamodb_processor.v1.value_pb2 import Item
from dynamodb_processor_server.batch_reader import BatchGetRequest, BatchGetResult
from dynamodb_processor_server.dynamodb.bounded_batches import BoundedBatch, BoundedBatches
from dynamodb_processor_server.errors import BackendUnavailable, DeadlineExceeded, Overloaded
from dynamodb_processor_server.query.planning.request_builder import build_batch
from dynamodb_processor_server.reader import Caller, ReadOptions, Usage
from tests.support.messages import from_item
from tests.support.reads import CALLER, make_options
from tests.unit.dynamodb.small_table import SCHEMA
from tests.unit.query.tables import make_table

_ROOM = 3_500_000


@dataclass
class Shelf:
    """Items of `sizes` bytes by number; others are missing. Each part takes a unit for 8 KB.

    A part ends after 16 MB, or at its read unit budget. `failures` are raised in place of answers,
    by the number of the request from 0. `parts` are the requested numbers.
    """

    sizes: Mapping[int, int]
    failures: Mapping[int, Exception] = field(default_factory=dict)
    seconds: float = 0.0
    parts: list[list[int]] = field(default_factory=list)

    async def get_items(
        self, request: BatchGetRequest, options: ReadOptions, caller: Caller
    ) -> BatchGetResult:
        """Return the items that one request finds."""
        numbers = [int(key["seq"]["N"]) for key in request.keys]
        self.parts.append(numbers)
        await asyncio.sleep(self.seconds)
        if len(self.parts) - 1 in self.failures:
            raise self.failures[len(self.parts) - 1]
        items: dict[int, Any] = {}
        taken = 0
        for index, number in enumerate(numbers):
            size = self.sizes.get(number, 0)
            if taken + size > 16_000_000:
                break
            taken += size
            items[index] = {"data": {"S": "x" * size}} if size else None
        return BatchGetResult(items, Usage(len(items), taken / 8192, 1), 5.0)


async def get(
    shelf: Shelf, numbers: Sequence[int], batches: BoundedBatches | None = None, **limits: Any
) -> BoundedBatch:
    """Get items whose average size is not known."""
    table = make_table(SCHEMA)
    keys = tuple({"device": {"S": "d"}, "seq": {"N": str(number)}} for number in numbers)
    lookup = BatchGetRequest(table, keys, *build_batch((), table), False)
    batches = batches or BoundedBatches(shelf, _ROOM)
    return await batches.get_items(lookup, make_options(**limits), CALLER)


def found(batch: BoundedBatch) -> list[int]:
    """Return the indices whose items were found."""
    return sorted(index for index, item in batch.items.items() if item is not None)


async def test_no_more_keys_are_requested_than_may_fit() -> None:
    """A batch begins with as few keys as may fit at any size, and goes on by the average size."""
    shelf = Shelf(dict.fromkeys(range(100), 390_000))
    batch = await get(shelf, range(100))
    assert [len(part) for part in shelf.parts] == [1, 7]
    assert found(batch) == list(range(8))
    assert batch.usage.read_units == pytest.approx(8 * 390_000 / 8192)
    assert from_item(Item.FromString(batch.items[0] or b"")) == {"data": {"S": "x" * 390_000}}
    small = Shelf(dict.fromkeys(range(100), 100))
    batch = await get(small, range(100))
    assert [len(part) for part in small.parts] == [1, 99]
    assert found(batch) == list(range(100))


async def test_the_average_size_of_a_table_is_remembered() -> None:
    """The next batch requests all keys at once where items were small."""
    shelf = Shelf(dict.fromkeys(range(100), 100))
    batches = BoundedBatches(shelf, _ROOM)
    for _ in range(2):
        await get(shelf, range(100), batches)
    assert [len(part) for part in shelf.parts] == [1, 99, 100]
    shelf.sizes = dict.fromkeys(range(100), 390_000)
    batch = await get(shelf, range(100), batches)  # One answer of DynamoDB shows the new size.
    assert found(batch) == list(range(8))
    await get(shelf, range(8, 100), batches)
    assert [len(part) for part in shelf.parts[3:]] == [100, 1, 7]


async def test_missing_items_take_no_room() -> None:
    """All keys are requested, in parts that double while no item is found."""
    shelf = Shelf({99: 1_000})
    batch = await get(shelf, range(100))
    assert [len(part) for part in shelf.parts] == [1, 2, 4, 8, 16, 32, 37]
    assert (found(batch), len(batch.items)) == ([99], 100)


async def test_an_item_without_room_does_not_hide_those_behind_it() -> None:
    """The item is left for the next batch; the first item of a batch always has room."""
    shelf = Shelf({0: 500_000, 1: 3_100_000, 2: 1_000})
    assert found(await get(shelf, range(3))) == [0, 2]
    shelf = Shelf({0: 3_900_000, 1: 1_000})
    assert found(await get(shelf, range(2))) == [0]


@pytest.mark.parametrize(
    "error", [BackendUnavailable("no"), DeadlineExceeded("no"), Overloaded("no", 1.0)]
)
async def test_a_failure_keeps_the_found_items(error: Exception) -> None:
    """A failure of the first part is the caller's; after the first part the rest is left open."""
    sizes = dict.fromkeys(range(100), 100)
    with pytest.raises(type(error)):
        await get(Shelf(sizes, {0: error}), range(100))
    assert found(await get(Shelf(sizes, {1: error}), range(100))) == [0]


async def test_budgets_end_a_batch() -> None:
    """Budgets of read units and of time end a batch after its first part at the earliest."""
    sizes = dict.fromkeys(range(100), 8_192)
    shelf = Shelf(sizes)
    assert found(await get(shelf, range(100), max_read_units=1.0)) == [0]
    assert len(shelf.parts) == 1
    now = asyncio.get_running_loop().time()
    shelf = Shelf(sizes, seconds=0.02)
    assert found(await get(shelf, range(100), soft_deadline=now + 0.01)) == [0]
    assert len(shelf.parts) == 1


async def test_a_batch_begins_with_the_average_size_from_dynamodb() -> None:
    """All keys of a table of small items are requested at once."""
    shelf = Shelf(dict.fromkeys(range(100), 100))
    table = make_table(SCHEMA)
    schema = replace(table.schema, item_bytes=100.0)
    assert schema == table.schema
    keys = tuple({"device": {"S": "d"}, "seq": {"N": str(number)}} for number in range(100))
    lookup = BatchGetRequest(replace(table, schema=schema), keys, *build_batch((), table), False)
    await BoundedBatches(shelf, _ROOM).get_items(lookup, make_options(), CALLER)
    assert [len(part) for part in shelf.parts] == [100]


async def test_dense_items_are_read_in_smaller_parts() -> None:
    """Their messages are much larger than the stored items, and as objects larger still."""

    class Dense(Shelf):
        async def get_items(
            self, request: BatchGetRequest, options: ReadOptions, caller: Caller
        ) -> BatchGetResult:
            """Return the items that one request finds, at a tenth of the units."""
            answer = await super().get_items(request, options, caller)
            units = answer.usage.read_units / 10
            return replace(answer, usage=replace(answer.usage, read_units=units))

    shelf = Dense(dict.fromkeys(range(100), 390_000))
    assert found(await get(shelf, range(100))) == list(range(8))
    assert [len(part) for part in shelf.parts] == [1, 2, 2, 2, 1]
