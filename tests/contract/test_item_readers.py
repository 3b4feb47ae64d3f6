"""Promises that every ItemReader keeps.

The same tests run on DynamoDB Local, and on the admission and the caches above it: empty, filled,
and filled by another replica.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import pytest
import pytest_asyncio

from dynamodb_processor.v1.value_pb2 import Item
from dynamodb_processor_server.batch_reader import BatchGetRequest, BatchGetResult
from dynamodb_processor_server.catalog.config import TableConfig
from dynamodb_processor_server.catalog.schema import Table
from dynamodb_processor_server.dynamodb.backend import Backend
from dynamodb_processor_server.dynamodb.table_describer import TableDescriber
from dynamodb_processor_server.errors import DeadlineExceeded, TableNotFound
from dynamodb_processor_server.query.expression.values import WireItem
from dynamodb_processor_server.query.planning.projection import apply_projection
from dynamodb_processor_server.reader import NO_USAGE, Budget, CacheMode, CachePolicy, CacheStatus
from tests.contract.item_stores import STATUSES, ItemStore, open_item_store
from tests.contract.readings import SCHEMA, make_items
from tests.support.dynamodb import put_items
from tests.support.messages import from_item
from tests.support.oracle import canonical_item

pytestmark = pytest.mark.asyncio(loop_scope="session")

ITEMS: Final = make_items()
ABSENT: Final[WireItem] = {"device": {"S": "nobody"}, "at": {"N": "1"}}
_FROM_CACHE: Final = (CacheStatus.HIT, CacheStatus.SHARED_HIT)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def table(backend: Backend, dynamodb: Any) -> Table:
    """The table of all tests, whose items are cached."""
    config = TableConfig(table=SCHEMA.table, cache_ttl=300.0)
    return Table("readings", config, await TableDescriber(backend).describe("readings", config))


@pytest_asyncio.fixture(loop_scope="session", params=list(STATUSES))
async def items(
    request: pytest.FixtureRequest, backend: Backend, table: Table
) -> AsyncIterator[ItemStore]:
    """The table behind each reader in turn."""
    async with open_item_store(request.param, table, backend) as opened:
        yield opened


@pytest.fixture
def written(dynamodb: Any) -> Iterator[dict[str, Any]]:
    """An item that a test may write, and which is removed after it."""
    item = {"device": {"S": "written"}, "at": {"N": "1"}}
    yield item
    dynamodb.delete_item(TableName=SCHEMA.table, Key=item)


def key(item: WireItem) -> WireItem:
    """Return the key of an item."""
    return {name: item[name] for name in SCHEMA.keys}


def shown(request: BatchGetRequest, result: BatchGetResult) -> list[Any]:
    """Return the items as callers get them, in the order of the keys; None for absent ones.

    The messages that came with some of them must be the same.
    """
    answers: list[Any] = []
    for index in range(len(request.keys)):
        item: Any = result.items[index]
        if item is not None:
            item = apply_projection(item, request.projection)
            if index in result.messages:
                message: Any = from_item(Item.FromString(result.messages[index]))
                assert canonical_item(message) == canonical_item(item)
        answers.append(None if item is None else canonical_item(item))
    return answers


def canonical(found: Sequence[Any]) -> list[Any]:
    """Return items in the form of `shown`."""
    return [None if item is None else canonical_item(item) for item in found]


async def test_every_item_comes_at_its_key(items: ItemStore) -> None:
    """A hundred items with all their attributes, in an order of the caller's."""
    request = items.request([key(item) for item in ITEMS[::-1]])
    await items.fill(request)
    found = await items.get(request)
    assert shown(request, found) == canonical(ITEMS[::-1])
    assert found.status is items.status


async def test_an_absent_item_is_none(items: ItemStore) -> None:
    """It is an answer among others, also when it is all that is asked for."""
    for request, wanted in (
        (items.request([ABSENT, key(ITEMS[0])]), [None, ITEMS[0]]),
        (items.request([ABSENT]), [None]),
    ):
        await items.fill(request)
        found = await items.get(request)
        assert shown(request, found) == canonical(wanted)


async def test_each_spelling_of_a_number_is_the_same_key(items: ItemStore) -> None:
    """A key is found as the caller wrote it, whichever spelling was read before."""
    await items.fill(items.request([key(ITEMS[45])]))
    assert ITEMS[45]["at"] == {"N": "12.5"}
    for spelling in ("12.50", "1.25E1", "+12.5"):
        request = items.request([{**key(ITEMS[45]), "at": {"N": spelling}}])
        assert shown(request, await items.get(request)) == canonical([ITEMS[45]])


async def test_parts_of_items_are_kept_apart(items: ItemStore) -> None:
    """A get of parts, of other parts, and of whole items, each after the others."""
    keys, item = [key(ITEMS[0]), ABSENT], ITEMS[0]
    parts: dict[tuple[str, ...], WireItem] = {
        ("tags", "floor"): {name: item[name] for name in ("tags", "floor")},
        ("doc.list[1]",): {"doc": {"M": {"list": {"L": [{"N": "2"}]}}}},
        ("nothing",): {},
        (): item,
    }
    requests = [items.request(keys, projection=projection) for projection in parts]
    for request in requests:
        await items.fill(request)
    for request, wanted in zip(requests, parts.values(), strict=True):
        assert shown(request, await items.get(request)) == canonical([wanted, None])


@pytest.mark.parametrize(
    ("rule", "visible", "projection"),
    [("contains(tags, 'even')", [0, 46], ("floor",)), ("device = 'd1'", [0, 1], ())],
    ids=["by an attribute that is not returned", "by the key"],
)
async def test_a_row_rule_hides_items(
    items: ItemStore, rule: str, visible: list[int], projection: tuple[str, ...]
) -> None:
    """A hidden item is as an absent one, although a caller without a rule has got it before."""
    numbers = (0, 1, 46, 47)
    keys = [key(ITEMS[number]) for number in numbers]
    await items.fill(items.request(keys, projection=projection))
    request = items.request(keys, projection=projection, rule=rule)
    await items.fill(request)
    wanted = [
        {name: ITEMS[n][name] for name in projection or ITEMS[n]} if n in visible else None
        for n in numbers
    ]
    assert shown(request, await items.get(request)) == canonical(wanted)
    without = items.request(keys, projection=projection)
    assert None not in shown(without, await items.get(without))


async def test_a_read_has_its_cost_and_time(items: ItemStore) -> None:
    """Items of a cache cost nothing, others half a read unit each; both have the time of a read."""
    began = time.time()
    request = items.request([key(ITEMS[0]), key(ITEMS[1])])
    await items.fill(request)
    found = await items.get(request)
    assert began - 1e-3 <= found.read_at <= time.time()
    if items.status in _FROM_CACHE:
        assert found.usage == NO_USAGE
    else:
        usage = found.usage
        assert (usage.items_scanned, usage.read_units, usage.retries) == (2, 1.0, 0)
        assert usage.backend_calls == 1


@pytest.mark.parametrize(
    "options",
    [{"budget": Budget(max_read_units=0.01)}, {"soft_deadline": 0.0}],
    ids=["a spent budget", "a soft deadline that has passed"],
)
async def test_a_limited_get_makes_progress(items: ItemStore, options: dict[str, Any]) -> None:
    """What one request to DynamoDB brings is returned, whatever it costs and however late it is."""
    request = items.request([key(item) for item in ITEMS[:9]])
    await items.fill(request)
    assert shown(request, await items.get(request, **options)) == canonical(ITEMS[:9])


async def test_only_what_needs_no_read_comes_after_the_deadline(items: ItemStore) -> None:
    """Without anything to show, the get is DEADLINE_EXCEEDED."""
    request = items.request([key(ITEMS[0])])
    await items.fill(request)
    late = asyncio.get_running_loop().time() - 1.0
    limits = {"soft_deadline": late, "hard_deadline": late}
    if items.status in _FROM_CACHE:
        assert shown(request, await items.get(request, **limits)) == canonical(ITEMS[:1])
    else:
        with pytest.raises(DeadlineExceeded):
            await items.get(request, **limits)


async def test_a_missing_table_is_an_error(items: ItemStore) -> None:
    """It is none of the items, and nothing is cached of it."""
    config = items.table.config.model_copy(update={"table": "contract-no-such-table"})
    request = replace(items.request([ABSENT]), table=replace(items.table, config=config))
    for _ in range(2):
        with pytest.raises(TableNotFound):
            await items.get(request)


@pytest.mark.parametrize("way", ["consistent", "bypass", "refresh", "bound"])
async def test_a_write_is_shown_to_those_who_ask_for_it(
    items: ItemStore, written: dict[str, Any], dynamodb: Any, way: str
) -> None:
    """The item was absent in a get before, and callers who accept that may still get it."""
    before = items.request([written])
    await items.fill(before)
    assert shown(before, await items.get(before)) == [None]
    item = {**written, "note": {"S": "new"}}
    put_items(dynamodb, SCHEMA.table, [item])
    policy = {
        "consistent": CachePolicy(),
        "bypass": CachePolicy(CacheMode.BYPASS),
        "refresh": CachePolicy(CacheMode.REFRESH),
        "bound": CachePolicy(not_before=time.time()),
    }[way]
    request = items.request([written], consistent=way == "consistent")
    assert shown(request, await items.get(request, cache=policy)) == canonical([item])
