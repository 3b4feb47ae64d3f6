"""The evaluator and DynamoDB Local agree on many items under many conditions of every kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from random import Random
from typing import Any, Final

import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamodb_processor_server.query.expression import validation as static_types
from dynamodb_processor_server.query.expression.ast import Between, Condition, Literal, Path, leaves
from dynamodb_processor_server.query.expression.evaluator import evaluate
from dynamodb_processor_server.query.expression.values import from_wire
from dynamodb_processor_server.query.planning.expression_writer import ExpressionWriter
from tests.support.conditions import Wire, WireItem
from tests.support.datasets import Schema, make_value
from tests.support.dynamodb import create_table, put_items
from tests.support.expressions import conditions, values_near

TABLE: Final = Schema("agreement", "group", "number", (), {"group": "S", "number": "N"})
GROUPS: Final = 4
SIZE: Final = 100
# The deep profile draws ten times as many.
CONDITIONS: Final = 8 * settings().max_examples
WANTED_PAIRS: Final = 20_000
NAMES: Final = ("a", "b", "size", "x.y")
# Values where ordering by other rules than DynamoDB's, or equality by spelling, would be wrong.
UNKIND: Final[tuple[Wire, ...]] = (
    {"S": "ｱ"}, {"S": "😀"}, {"S": "é"}, {"S": "e\u0301"}, {"S": ""}, {"S": "1"}, {"S": "S"},
    {"N": "1"}, {"N": "1.0"}, {"N": "0.1E1"}, {"N": "-0"}, {"N": "0"}, {"N": "-1"},
    {"N": "99999999999999999999999999999999999999"},
    {"N": "99999999999999999999999999999999999998"},
    {"N": "1E-130"}, {"N": "-9.9999999999999999999999999999999999999E+125"},
    {"B": b""}, {"B": b"\x7f"}, {"B": b"\x80"}, {"B": b"1"},
    {"BOOL": True}, {"BOOL": False}, {"NULL": True},
    {"SS": ["a", "é"]}, {"SS": ["é", "a"]}, {"NS": ["1", "2"]}, {"NS": ["2.0", "1E0"]},
    {"BS": [b"a", b"b"]}, {"BS": [b"b", b"a"]},
    {"L": []}, {"L": [{"N": "1"}, {"N": "1"}]}, {"L": [{"N": "1.0"}, {"N": "1"}]},
    {"L": [{"SS": ["b", "a"]}]}, {"L": [{"SS": ["a", "b"]}, {"NULL": True}]},
    {"M": {}}, {"M": {"a": {"N": "1"}}}, {"M": {"a": {"N": "1.00"}}},
    {"M": {"a": {"S": "1"}, "or": {"L": [{"S": "1"}, {"B": b"1"}]}}},
    {"M": {"k k": {"M": {"a": {"NS": ["1.0"]}}}}}, {"M": {"k k": {"M": {"a": {"NS": ["1"]}}}}},
)  # fmt: skip
PATHS: Final = st.builds(
    lambda name, inner: Path((name, *inner)),
    st.sampled_from(NAMES),
    st.one_of(
        st.just(()),
        st.just(()),
        st.lists(st.sampled_from(("a", "or", "k k", 0, 1)), min_size=1, max_size=3),
    ),
)


def make_items(group: int) -> list[WireItem]:
    """Return a partition's items: values of all types under the same few names, some missing."""
    random = Random(group)
    items: list[WireItem] = []
    for number in range(SIZE):
        item: WireItem = {"group": {"S": str(group)}, "number": {"N": str(number)}}
        for name in NAMES:
            if random.random() < 0.8:
                unkind = random.random() < 0.7
                item[name] = random.choice(UNKIND) if unkind else make_value(random)
        items.append(item)
    return items


ITEMS: Final = [make_items(group) for group in range(GROUPS)]
SIMILAR_VALUES: Final = [values_near(items, list(map(from_wire, UNKIND))) for items in ITEMS]


@pytest.fixture(scope="module")
def agreement(dynamodb: Any) -> Any:
    """A client of the DynamoDB Local that holds the items."""
    create_table(dynamodb, TABLE)
    for items in ITEMS:
        put_items(dynamodb, TABLE.table, items)
    return dynamodb


@pytest.fixture(scope="module")
def pair_counts(show_line: Callable[[str], None], examples_seed: str) -> Iterator[Counter[str]]:
    """Counts of condition and item pairs, printed and checked at the end."""
    counts: Counter[str] = Counter()
    yield counts
    show_line(
        f"evaluator, {examples_seed}: "
        f"{counts['pairs']} pairs of item and condition compared with DynamoDB Local, "
        f"{counts['true']} of them true, {counts['mismatches']} mismatches; "
        f"{counts['refused']} more conditions refused by both"
    )
    assert counts["pairs"] >= WANTED_PAIRS
    # Else nearly everything is false, and little has been compared.
    assert counts["true"] > counts["pairs"] // 5


@settings(max_examples=CONDITIONS)
@given(group=st.integers(0, GROUPS - 1), drawn=st.data())
def test_conditions_hold_for_the_same_items_of_all_types(
    agreement: Any, pair_counts: Counter[str], group: int, drawn: st.DataObject
) -> None:
    """A condition that DynamoDB accepts selects the same items; one that it refuses is refused."""
    condition = drawn.draw(conditions(PATHS, SIMILAR_VALUES[group]))
    theirs = ask(agreement, group, condition)
    refused = is_refused(condition)
    if theirs is None:
        assert refused or has_swapped_ends(condition), "only DynamoDB refuses this"
        pair_counts["refused"] += refused
        return
    assert not refused, "only the service refuses this"
    ours = {int(item["number"]["N"]) for item in ITEMS[group] if evaluate(condition, item)}
    pair_counts["pairs"] += SIZE
    pair_counts["true"] += len(theirs)
    pair_counts["mismatches"] += len(ours ^ theirs)
    assert ours == theirs


def ask(client: Any, group: int, condition: Condition) -> set[int] | None:
    """Return the numbers of the items that DynamoDB selects; None if it refuses the condition."""
    renderer = ExpressionWriter()
    text = renderer.condition(condition)
    try:
        answer = client.query(
            TableName=TABLE.table,
            KeyConditionExpression="#g = :g",
            FilterExpression=text,
            ProjectionExpression="#n",
            ExpressionAttributeNames={**renderer.names, "#g": "group", "#n": "number"},
            ExpressionAttributeValues={**renderer.values, ":g": {"S": str(group)}},
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ValidationException":
            raise
        return None
    assert answer["ScannedCount"] == SIZE
    return {int(Decimal(item["number"]["N"])) for item in answer["Items"]}


def is_refused(condition: Condition) -> bool:
    """Return whether the service refuses a condition without looking at any item."""
    try:
        static_types.check(condition)
    except static_types.ExpressionError:
        return True
    return False


def has_swapped_ends(condition: Condition) -> bool:
    """Return whether a BETWEEN has swapped ends, which DynamoDB refuses."""
    return any(
        leaf.low.value.order > leaf.high.value.order
        for leaf in leaves(condition)
        if isinstance(leaf, Between)
        and isinstance(leaf.low, Literal)
        and isinstance(leaf.high, Literal)
        and leaf.low.value.type == leaf.high.value.type
        and leaf.low.value.type in ("S", "N", "B")
    )
