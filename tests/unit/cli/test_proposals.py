"""Tests of the proposals that `catalog init` derives from sampled items."""

from __future__ import annotations

from typing import Any, Final

import pytest

from dynamodb_processor_server.cli.proposals import Proposals, propose
from tests.support.datasets import Index, Schema
from tests.unit.query.tables import make_schema

_SCHEMA: Final = make_schema(
    Schema(
        "orders",
        "id",
        "at",
        (
            Index("by_status", False, ("status",), ("placed_at",)),
            Index("by_time", True, ("id",), ("placed_at",)),
            Index("by_total", False, ("status",), ("total", "blob")),
        ),
        {"id": "S", "at": "N", "status": "S", "placed_at": "S", "total": "N", "blob": "B"},
    )
)
_WHOLE: Final[dict[str, Any]] = {
    "id": {"S": "o1"}, "at": {"N": "1"}, "status": {"S": "open"}, "placed_at": {"S": "p"},
    "total": {"N": "0"}, "blob": {"B": b"x"},
}  # fmt: skip


def proposals(*items: dict[str, Any]) -> Proposals:
    """Return the proposals from complete items with these changes; None removes an attribute."""
    changed = [
        {name: value for name, value in (_WHOLE | item).items() if value is not None}
        for item in items
    ]
    return propose(_SCHEMA, changed)


def test_sort_attributes_that_every_item_has_are_proposed_as_required() -> None:
    """Partition attributes need no promise: a query that reads the index fixes them."""
    found = proposals({}, {"status": None})
    assert found.required == ("placed_at", "total", "blob")
    assert found.lacking == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("placed_at", None),
        ("placed_at", {"S": ""}),
        ("placed_at", {"N": "1"}),
        ("placed_at", {"NULL": True}),
        ("placed_at", {"S": "x" * 1_025}),
        ("placed_at", {"S": "ö" * 513}),
        ("total", {"S": "5"}),
        ("blob", {"B": b""}),
        ("blob", {"B": b"x" * 1_025}),
    ],
)
def test_an_item_that_an_index_leaves_out_is_counted(name: str, value: Any) -> None:
    """DynamoDB indexes no key that is missing, empty, of another type or too long."""
    found = proposals({}, {name: value}, {})
    assert name not in found.required
    assert found.lacking == {name: 1}


def test_the_longest_key_is_valid() -> None:
    """A sort key may have 1,024 bytes."""
    assert proposals({"placed_at": {"S": "x" * 1_024}}).lacking == {}


def test_without_items_nothing_is_proposed() -> None:
    """An empty table gives no evidence about its items."""
    assert propose(_SCHEMA, []) == Proposals((), {}, {}, (), {})


@pytest.mark.parametrize(
    ("values", "form"),
    [
        ([{"S": "2026-01-31T08:00:00Z"}, {"S": "1999-01-01T00:00:00Z"}], "iso8601"),
        ([{"S": "2026-01-31T08:00:00.123Z"}], "iso8601_milliseconds"),
        ([{"S": "2026-01-31T08:00:00.123456Z"}], "iso8601_microseconds"),
        ([{"N": "1769846400"}, {"N": "1769846401"}], "epoch_seconds"),
        ([{"N": "1769846400000"}], "epoch_milliseconds"),
        ([{"S": "2026-01-31T08:00:00Z"}, {"S": "2026-01-31T08:00:00.123Z"}], None),
        ([{"S": "2026-01-31"}], None),
        ([{"S": "2026-01-31T08:00:00+01:00"}], None),
        ([{"N": "1769846400"}, {"N": "12"}], None),
        ([{"N": "1769846400.5"}], None),
        ([{"N": "1769846400"}, {"S": "2026-01-31T08:00:00Z"}], None),
        ([{"BOOL": True}], None),
    ],
)
def test_times_are_known_by_their_one_stored_form(values: list[Any], form: str | None) -> None:
    """Times in two forms, or with another zone, are not proposed as timestamps."""
    found = proposals(*({"seen": value} for value in values), {"seen": None})
    assert found.timestamps.get("seen") == form


@pytest.mark.parametrize(
    ("ids", "template", "matching"),
    [
        (["USER#1", "USER#2"], "USER#{user_id}", 2),
        (["USER#1", "USER#2", "ORG#1"], "USER#{user_id}", 2),
        (["ORDER#1#LINE#2"], "ORDER#{order_id}#LINE#{line_id}", 1),
        (["ORDER#1#2026-01-31"], "ORDER#{order_id}#{order_2}", 1),
        (["TENANT#a", "plain"], "TENANT#{tenant}", 1),
        (["PROFILE", "SETTINGS"], None, 0),
        (["o1", "o2"], None, 0),
        (["a#b"], None, 0),
        (["USER#"], None, 0),
    ],
)
def test_composed_keys_are_known_by_their_fixed_parts(
    ids: list[str], template: str | None, matching: int
) -> None:
    """The most common shape becomes a template; fields do not take the names of attributes."""
    found = proposals(*({"id": {"S": one}, "tenant_id": {"S": "a"}} for one in ids)).templates
    assert [one.text for one in found if one.attribute == "id"] == ([template] if template else [])
    assert [one.matching for one in found if one.attribute == "id"] == (
        [matching] if template else []
    )


def test_no_two_keys_have_a_field_of_one_name() -> None:
    """Fields that two keys share must agree in every item, which a sample cannot promise."""
    found = proposals({"id": {"S": "USER#1"}, "status": {"S": "USER#2"}})
    assert [one.text for one in found.templates] == ["USER#{user_id}", "USER#{user}"]
