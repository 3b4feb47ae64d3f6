"""Plain reads of DynamoDB Local have the same pages with either builder."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any, Final

import pytest
from hypothesis import settings

from dynamodb_processor_server.dynamodb.backend import Backend
from dynamodb_processor_server.dynamodb.page_builder import PageBuilder
from dynamodb_processor_server.dynamodb.plain_pages import is_plain
from dynamodb_processor_server.dynamodb.reader import DynamoDBReader, _Builder
from dynamodb_processor_server.query.planning.plan import Plan
from dynamodb_processor_server.reader import START, Page, PageRead, Usage
from tests.contract.facts import Ground, MakeGround
from tests.contract.reads import make_read, read_all
from tests.support.conditions import WireItem
from tests.support.datasets import Index, Schema, make_value

pytestmark = pytest.mark.asyncio(loop_scope="session")

# The deep profile draws ten times as many.
QUERIES: Final = 4 * settings().max_examples
NOW: Final = 1_700_000_000.0
TABLE: Final = Schema(
    "plain-pages",
    "device",
    "seq",
    (
        Index("by_level", False, ("level",), ("zone",)),
        Index("by_zone", True, ("device",), ("zone",)),
    ),
    {"device": "S", "seq": "N", "level": "S", "zone": "B"},
)
SORTS: Final = {
    "": ("", "seq > :low", "seq <= :high", "seq BETWEEN :low AND :high", "seq = :low"),
    "by_level": ("", "zone = :zone", "zone >= :zone", "begins_with(zone, :zone)"),
    "by_zone": ("", "zone < :zone", "zone BETWEEN :zone AND :zone"),
}


class GeneralReader(DynamoDBReader):
    """Reads every page with the general builder."""

    def _builder(self, request: PageRead) -> _Builder:
        return PageBuilder(request, self._max_page_bytes, self._now(), self._max_item_bytes)


def make_items(random: Random) -> list[WireItem]:
    """Return items of three partitions, of sizes from some bytes to some kilobytes."""
    items: list[WireItem] = []
    for device, count in (("d", 140), ("e", 15), ("f", 1)):
        for number in range(count):
            item: WireItem = {
                "device": {"S": device},
                "seq": {"N": str(number)},
                "note": {"S": "x" * random.choice((0, 10, 4_000))},
                "value": make_value(random),
                "gone_at": {"N": str(random.randrange(1_600_000_000, 1_900_000_000))},
            }
            # The indexes hold a part of the items, with ties of their sort keys.
            more: WireItem = {
                "level": {"S": random.choice("ab")},
                "zone": {"B": bytes(random.choices(b"\x00\x7f\xff", k=2))},
            }
            items.append(item | {name: more[name] for name in more if random.random() < 0.8})
    return items


@pytest.fixture(scope="module")
def ground(make_ground: MakeGround) -> Ground:
    """A table of items that expire."""
    return make_ground(TABLE, make_items(Random(14)), sparse="allow", time_to_live="gone_at")


def random_plan(random: Random, ground: Ground) -> Plan:
    """Return the plan of a plain query: on the table or an index, with or without a range."""
    index = random.choice(tuple(SORTS))
    given: dict[str, Any] = {
        "partition": {"S": random.choice("ab" if index == "by_level" else "defg")},
        "low": {"N": str(random.randrange(20))},
        "high": {"N": str(random.randrange(20, 150))},
        "zone": {"B": bytes(random.choices(b"\x00\x7f\xff", k=random.choice((1, 2))))},
    }
    partition = "level" if index == "by_level" else "device"
    sort = random.choice(SORTS[index])
    text = f"{partition} = :partition" + (f" AND {sort}" if sort else "")
    return ground.plan(
        text,
        values={name: wire for name, wire in given.items() if f":{name}" in text},
        index=index or "@table",
        descending=random.random() < 0.5,
        projection=random.choice(((), ("value",), ("seq", "gone_at"))),
        consistent=index != "by_level" and random.random() < 0.2,
    )


def shown(pages: list[Page]) -> list[Any]:
    """Return everything of the pages of a call but the time that they took."""
    return [page._replace(usage=_cost(page.usage), read_ahead=None) for page in pages]


def _cost(usage: Usage) -> Usage:
    return replace(usage, backend_time=0.0)


async def test_random_plain_reads_have_the_same_pages(ground: Ground, backend: Backend) -> None:
    """Items, cursors, ends, expiry and cost are equal at any page size and byte limit.

    They are so for pages of one call, which reads ahead, and for those of calls of their own.
    """
    random = Random(15)
    pages = 0
    for _ in range(QUERIES):
        plan, size = random_plan(random, ground), random.choice((3, 7, 20, 50, 100, 200))
        max_bytes = random.choice((500, 10_000, 1_000_000))
        reads_on = random.random() < 0.5
        assert is_plain(make_read(plan, START, size))
        both = []
        for kind in (DynamoDBReader, GeneralReader):
            reader = kind(backend, max_bytes, lambda: NOW)
            both.append(shown(await read_all(reader, plan, size, reads_on=reads_on)))
        assert both[0] == both[1]
        pages += len(both[0])
    assert pages > QUERIES
