"""The merge of partitions: in sort-key order, ties by partition, one item at a time."""

from __future__ import annotations

from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamodb_processor_server.cursor import EXHAUSTED
from dynamodb_processor_server.dynamodb.partition_merge import PartitionMerge, PartitionStream
from dynamodb_processor_server.query.expression.ast import Query
from dynamodb_processor_server.query.expression.parser import parse_expression
from dynamodb_processor_server.query.expression.values import WireItem
from dynamodb_processor_server.query.planning.plan import Plan
from dynamodb_processor_server.query.planning.planner import plan_query
from tests.support.datasets import Index, Schema
from tests.unit.query.tables import make_table

SCHEMA: Final = Schema(
    "places",
    "id",
    None,
    (
        Index("by_zone", False, ("zone",), ()),
        Index("by_rank", False, ("zone",), ("rank",)),
        Index("by_name", False, ("zone",), ("name",)),
        Index("by_code", False, ("zone",), ("code",)),
        Index("by_rank_and_name", False, ("zone",), ("rank", "name")),
    ),
    {"id": "S", "zone": "S", "rank": "N", "name": "S", "code": "B"},
)


def make_plan(index: str, zones: int = 3, *, descending: bool = False) -> Plan:
    """Return the plan that reads the zones a, b, c... on an index."""
    names = ", ".join(f"'{zone}'" for zone in "abcdefgh"[:zones])
    query = Query(
        "places", parse_expression(f"zone IN ({names})", {}), index=index, descending=descending
    )
    return plan_query(query, make_table(SCHEMA))


def make_item(zone: str, number: int, **values: Any) -> WireItem:
    """Return an item with the attributes that any index needs."""
    return {
        "id": {"S": f"{zone}-{number}"},
        "zone": {"S": zone},
        "rank": {"N": values.get("rank", "0")},
        "name": {"S": values.get("name", "x")},
        "code": {"B": values.get("code", b"x")},
    }


def make_branches(plan: Plan, *partitions: list[WireItem]) -> PartitionMerge:
    """Return a merge of partitions that were each read to their end."""
    branches = PartitionMerge(plan, [None] * len(plan.requests))
    for branch, items in zip(branches.waiting(), partitions, strict=True):
        branch.add({"Items": items}, 1.0)
    return branches


def drain(branches: PartitionMerge) -> list[str]:
    """Pop all items, in order; return their ids."""
    taken = []
    while (branch := branches.next()) is not None:
        taken.append(branches.pop(branch)["id"]["S"])
    return taken


def parts(*zones: list[dict[str, Any]]) -> list[list[WireItem]]:
    """Return the items of the zones a, b, c..., numbered within each."""
    return [
        [make_item(zone, number, **values) for number, values in enumerate(entries)]
        for zone, entries in zip("abcdefgh", zones, strict=False)
    ]


def ranked(*zones: str) -> list[list[WireItem]]:
    """Return items of the zones a, b, c... with these ranks."""
    return parts(*([{"rank": rank} for rank in zone.split()] for zone in zones))


@pytest.mark.parametrize(
    ("zones", "descending", "order"),
    [
        (("1 4", "2 5", "3 6"), False, "a-0 b-0 c-0 a-1 b-1 c-1"),
        (("4 1", "5 2", "6 3"), True, "c-0 b-0 a-0 c-1 b-1 a-1"),
        (("1 2", "", "0 9"), False, "c-0 a-0 a-1 c-1"),
        (("9 10 100", "-1 -0.5 1E2", "2"), False, "b-0 b-1 c-0 a-0 a-1 a-2 b-2"),
        (("1 1 2", "1 2 2", "1 1"), False, "a-0 a-1 b-0 c-0 c-1 a-2 b-1 b-2"),
        (("2 1 1", "2 2 1", "1 1"), True, "a-0 b-0 b-1 a-1 a-2 b-2 c-0 c-1"),
        (("1.0", "1", "1.00"), False, "a-0 b-0 c-0"),
    ],
)
def test_items_come_by_sort_key_and_ties_by_partition(
    zones: tuple[str, ...], descending: bool, order: str
) -> None:
    """The earlier partition is first among equals in either direction."""
    branches = make_branches(make_plan("by_rank", descending=descending), *ranked(*zones))
    assert drain(branches) == order.split()
    assert branches.exhausted


@pytest.mark.parametrize("descending", [False, True])
def test_without_a_sort_key_partitions_come_one_after_another(descending: bool) -> None:
    """All items tie."""
    branches = make_branches(
        make_plan("by_zone", descending=descending), *ranked("2 1", "0", "3 3")
    )
    assert drain(branches) == ["a-0", "a-1", "b-0", "c-0", "c-1"]


def test_strings_are_ordered_by_their_bytes() -> None:
    """Strings sort by UTF-8: capitals first, and characters of two UTF-16 units last."""
    zones = parts(
        [{"name": "Z"}, {"name": "é"}], [{"name": "a"}, {"name": "\U0001f600"}], [{"name": "ｱ"}]
    )
    assert drain(make_branches(make_plan("by_name"), *zones)) == ["a-0", "b-0", "a-1", "c-0", "b-1"]


def test_bytes_are_unsigned() -> None:
    """A prefix comes before longer values."""
    zones = parts([{"code": b"\x80"}], [{"code": b"\x7f"}, {"code": b"\x7f\x00"}], [])
    assert drain(make_branches(make_plan("by_code"), *zones)) == ["b-0", "b-1", "a-0"]


def test_several_sort_attributes_count_from_left_to_right() -> None:
    """The second attribute decides where the first ties."""
    a = [{"rank": "1", "name": "n"}, {"rank": "2", "name": "a"}]
    b = [{"rank": "1", "name": "m"}, {"rank": "1", "name": "z"}, {"rank": "2", "name": "b"}]
    forwards = make_branches(make_plan("by_rank_and_name", 2), *parts(a, b))
    assert drain(forwards) == ["b-0", "a-0", "b-1", "a-1", "b-2"]
    plan = make_plan("by_rank_and_name", 2, descending=True)
    backwards = make_branches(plan, *parts(a[::-1], b[::-1]))
    assert drain(backwards) == ["b-0", "a-0", "b-1", "a-1", "b-2"]


def test_the_merge_waits_for_the_next_item_of_every_partition() -> None:
    """A partition without an answer is awaited; a partition at its end is not."""
    plan = make_plan("by_rank")
    branches = PartitionMerge(plan, [None, EXHAUSTED, None])
    first, third = branches.waiting()
    assert [branch.request for branch in (first, third)] == [plan.requests[0], plan.requests[2]]
    key = {"id": {"S": "a-9"}, "zone": {"S": "a"}, "rank": {"N": "9"}}
    first.add({"Items": [], "LastEvaluatedKey": key}, 1.0)
    third.add({"Items": [make_item("c", 0)]}, 2.0)
    assert branches.waiting() == [first]
    assert branches.cursors == [key, EXHAUSTED, None]
    assert branches.read_at == 2.0
    first.add({"Items": []}, 3.0)
    assert branches.waiting() == []
    assert drain(branches) == ["c-0"]
    assert branches.exhausted
    assert branches.read_at is None


def test_each_partition_continues_after_its_popped_items() -> None:
    """Its cursor is the key of the last popped item, or the answer's end if all were popped."""
    branches = PartitionMerge(make_plan("by_rank", 2), [None, None])
    first, second = branches.waiting()
    end = {"id": {"S": "a-7"}, "zone": {"S": "a"}, "rank": {"N": "7"}}
    ((one, two), (three,)) = ranked("1 3", "2")
    first.add({"Items": [one, two], "LastEvaluatedKey": end}, 1.0)
    second.add({"Items": [three], "LastEvaluatedKey": {}}, 1.0)
    seen = []
    while not branches.waiting():
        branch = branches.next()
        assert branch is not None
        branches.pop(branch)
        seen.append(branches.cursors)
    key = {"id": {"S": "a-0"}, "zone": {"S": "a"}, "rank": {"N": "1"}}
    assert seen == [[key, None], [key, EXHAUSTED], [end, EXHAUSTED]]
    assert branches.waiting() == [first]
    assert not branches.exhausted


def test_answers_are_added_behind_each_other() -> None:
    """A partition that has items left may be read further."""
    ((one, two),) = ranked("1 2")
    (branch,) = PartitionMerge(make_plan("by_rank", 1), [None]).waiting()
    branch.add({"Items": [one], "LastEvaluatedKey": {"id": one["id"]}}, 1.0)
    branch.add({"Items": [two]}, 2.0)
    assert [branch.take(["id"])["id"]["S"] for _ in range(2)] == ["a-0", "a-1"]
    assert branch.cursor is EXHAUSTED


_ranks = st.lists(st.integers(-3, 3), max_size=6)


@given(st.lists(_ranks, min_size=1, max_size=8), st.booleans(), st.data())
def test_a_merge_is_a_stable_sort(
    zones: list[list[int]], descending: bool, drawn: st.DataObject
) -> None:
    """The merge is stable for any items, in pieces of any size."""
    plan = make_plan("by_rank", len(zones), descending=descending)
    ranks = [" ".join(map(str, sorted(zone, reverse=descending))) for zone in zones]
    partitions = ranked(*ranks)
    every = [item for partition in partitions for item in partition]
    expected = sorted(every, key=lambda item: int(item["rank"]["N"]), reverse=descending)
    branches = PartitionMerge(plan, [None] * len(zones))
    unread = dict(zip(branches.waiting(), partitions, strict=True))
    taken: list[WireItem] = []
    while not branches.exhausted:
        for branch in branches.waiting():
            unread[branch] = _read(branch, unread[branch], drawn.draw(st.integers(0, 3)))
        while not branches.waiting() and (following := branches.next()) is not None:
            taken.append(branches.pop(following))
    assert taken == expected


def _read(branch: PartitionStream, items: list[WireItem], count: int) -> list[WireItem]:
    """Answer with the next few items of a partition; return those left."""
    answered, left = items[:count], items[count:]
    more = {"LastEvaluatedKey": {"id": (answered or items)[-1]["id"]}} if left else {}
    branch.add({"Items": answered, **more}, 1.0)
    return left
