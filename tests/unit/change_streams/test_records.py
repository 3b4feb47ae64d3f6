"""The partitions of the table and of every index that a stream record affects."""

from __future__ import annotations

from typing import Any

import pytest

from dynamodb_processor_server.change_streams.records import (
    Change,
    StreamRecord,
    affected_partitions,
    item_changes,
)
from dynamodb_processor_server.query.expression.values import WireItem
from tests.support.datasets import Index, Schema
from tests.unit.change_streams.scripted_stream import event, partition_text
from tests.unit.query.tables import EVENTS, make_schema

WIDE = Schema(
    "wide",
    "id",
    None,
    (Index("by_place", False, ("country", "zip"), ("street", "number")),),
    {"id": "S", "country": "S", "zip": "N", "street": "S", "number": "N"},
)


def record(old: WireItem | None, new: WireItem | None, change: Change = "MODIFY") -> StreamRecord:
    """Return a record."""
    return StreamRecord("1", change, old, new)


def paths(old: WireItem | None, new: WireItem | None, schema: Schema = EVENTS) -> set[str]:
    """Return the partitions that a write affects, as text."""
    return set(map(partition_text, affected_partitions(make_schema(schema), record(old, new))))


def test_both_images_count() -> None:
    """An item that moves between partitions of an index leaves one and enters the other."""
    assert paths(event("t", "1", "u-1"), event("t", "1", "u-2")) == {
        "@table=t",
        "by_time=t",
        "by_user=u-1",
        "by_user=u-2",
    }


def test_items_that_come_and_go_have_one_image() -> None:
    """A new item has no old image, a deleted item no new one."""
    expected = {"@table=t", "by_time=t", "by_user=u-1"}
    assert paths(None, event("t", "1", "u-1")) == expected
    assert paths(event("t", "1", "u-1"), None) == expected


def test_items_that_an_index_does_not_hold_do_not_affect_it() -> None:
    """They lack an attribute of its partition or sort key, or have it with another type."""
    base = {"tenant_id": {"S": "t"}, "event_id": {"S": "1"}}
    assert paths(None, base) == {"@table=t"}
    assert paths(None, base | {"user_id": {"S": "u"}}) == {"@table=t"}
    assert paths(None, base | {"user_id": {"N": "1"}, "occurred_at": {"S": "2026"}}) == {
        "@table=t",
        "by_time=t",
    }
    assert paths(event("t", "1"), event("t", "1", "u")) == {"@table=t", "by_time=t", "by_user=u"}


def test_keys_of_several_attributes_need_all_of_them() -> None:
    """The partition has all of their values, in the key's order."""
    item: dict[str, Any] = {
        "id": {"S": "1"},
        "country": {"S": "ie"},
        "zip": {"N": "4.0"},
        "street": {"S": "x"},
        "number": {"N": "1"},
    }
    assert paths(None, item, WIDE) == {"@table=1", "by_place=ie,4"}
    for name in ("country", "zip", "street", "number"):
        rest = {key: value for key, value in item.items() if key != name}
        assert paths(None, rest, WIDE) == {"@table=1"}


def test_numbers_are_compared_by_value() -> None:
    """`1` and `1.0` are one key."""
    schema = Schema("numbers", "id", None, (), {"id": "N"})
    found = [
        next(affected_partitions(make_schema(schema), record(None, {"id": {"N": text}})))
        for text in ("1", "1.0", "10E-1")
    ]
    assert len({values for _, values in found}) == 1


@pytest.mark.parametrize(
    ("change", "old", "new", "has_images"),
    [
        ("INSERT", None, {}, True),
        ("REMOVE", {}, None, True),
        ("MODIFY", {}, {}, True),
        ("INSERT", None, None, False),
        ("REMOVE", None, None, False),
        ("MODIFY", None, {}, False),
        ("MODIFY", {}, None, False),
    ],
)
def test_the_images_that_a_record_needs_depend_on_the_change(
    change: Change, old: WireItem | None, new: WireItem | None, *, has_images: bool
) -> None:
    """An absent image counts as missing only if there was an item."""
    assert record(old, new, change).has_images is has_images


def test_the_last_change_of_each_item_counts() -> None:
    """Records of one item come in order; a removed item has no image."""
    records = [
        StreamRecord("1", "INSERT", None, event("t", "1", "u-1"), created=1.0),
        StreamRecord("2", "INSERT", None, event("t", "2"), created=2.0),
        StreamRecord("3", "MODIFY", event("t", "1", "u-1"), event("t", "1", "u-2"), created=3.0),
    ]
    records.append(StreamRecord("4", "REMOVE", event("t", "2"), None, created=4.0))
    changed, removed = item_changes(make_schema(EVENTS), records)
    assert (changed.image, changed.sequence, changed.created) == (records[2].new, 3, 3.0)
    assert (removed.image, removed.sequence) == (None, 4)
    assert changed.key == {"tenant_id": {"S": "t"}, "event_id": {"S": "1"}}
