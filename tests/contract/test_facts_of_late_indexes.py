"""Facts 21 and 26 of `dynamodb-facts.md`: indexes that are younger than their table's items."""

from __future__ import annotations

import time
from typing import Any, Final

import pytest

from tests.contract.facts import Ground, MakeGround, values
from tests.support.datasets import Index, Schema
from tests.unit.query.tables import describe, make_table

pytestmark = pytest.mark.asyncio(loop_scope="session")

LATE: Final = Index("by_g", False, ("g",), ("s",))
LATE_ITEMS: Final[list[dict[str, Any]]] = [
    {"id": {"S": str(number)}, "g": {"S": "a"}, **({"s": s} if s else {})}
    for number, s in enumerate(({"S": "x"}, {"S": ""}, {"N": "5"}, {"S": "x" * 1025}, None))
]


@pytest.fixture
def late(make_ground: MakeGround) -> Ground:
    """A table whose index is younger than its items."""
    types = {"id": "S"}
    ground = make_ground(Schema("facts-late", "id", None, (), types), LATE_ITEMS, allow_scan=True)
    whole = Schema("facts-late", "id", None, (LATE,), {**types, "g": "S", "s": "S"})
    described = describe(whole)
    index = dict(described["GlobalSecondaryIndexes"][0])
    del index["IndexStatus"]
    ground.client.update_table(
        TableName="facts-late",
        AttributeDefinitions=described["AttributeDefinitions"],
        GlobalSecondaryIndexUpdates=[{"Create": index}],
    )
    while ground.ask("describe_table")["Table"]["GlobalSecondaryIndexes"][0]["IndexStatus"] != (
        "ACTIVE"
    ):
        time.sleep(0.02)
    ground.table = make_table(whole, allow_scan=True)
    return ground


@pytest.mark.fact(21)
@pytest.mark.fact(26)
async def test_an_index_made_later_lacks_items_with_values_that_are_no_keys(late: Ground) -> None:
    """The service uses such an index only for conditions that imply a valid key."""
    held = late.ask("scan", IndexName="by_g")["Items"]
    assert {"id": {"S": "1"}, "g": {"S": "a"}, "s": {"S": ""}} not in held
    assert len(held) < len(LATE_ITEMS)
    for text, numbers, index in (
        ("g = 'a' AND attribute_exists(s)", ["0", "1", "2", "3"], None),
        ("g = 'a' AND size(s) < 5", ["0", "1"], None),
        ("g = 'a' AND attribute_type(s, 'S')", ["0", "1", "3"], None),
        ("g = 'a' AND s >= ''", ["0", "1", "3"], None),
        ("g = 'a' AND begins_with(s, 'x')", ["0", "3"], None),
        ("g = 'a' AND s BETWEEN 'w' AND 'y'", ["0", "3"], None),
        ("g = 'a' AND s IN ('x', '')", ["0", "1"], None),
        ("g = 'a' AND s IN ('x', 5)", ["0", "2"], None),
        ("g = 'a' AND s = 5", ["2"], None),
        ("g = 'a' AND s = ''", ["1"], None),
        ("g = 'a' AND s <> 'x'", ["1", "2", "3", "4"], None),
        ("g = 'a' AND s = 'x'", ["0"], "by_g"),
        ("g = 'a' AND s IN ('x', 'y')", ["0"], "by_g"),
    ):
        assert late.plan(text).path.index == index, text
        assert sorted(values(await late.answer(text), "id")) == numbers, text
