"""The logical view: stored items are expanded and converted to logical ones."""

from __future__ import annotations

from typing import Any, Final

import pytest

from dynamodb_processor_server.catalog.config import TableConfig
from dynamodb_processor_server.catalog.logical_view import LogicalView, has_expired

NOW: Final = 1_767_225_600  # 2026-01-01T00:00:00Z
FIVE_YEARS: Final = 5 * 365 * 86_400
KEYS: Final = {
    "PK": "USER#{user_id}",
    "SK": "{occurred_at}#{event_id}",
    "GS1_PK": "SYSTEM#{system_id}",
    "GS1_SK": "{occurred_at}#{event_id}",
}
STORED: Final[dict[str, Any]] = {
    "PK": {"S": "USER#u1"},
    "SK": {"S": "2026-01-01T00:00:00Z#e#1"},
    "GS1_PK": {"S": "SYSTEM#crm"},
    "GS1_SK": {"S": "2026-01-01T00:00:00Z#e#1"},
    "seen": {"N": "1767225600"},
    "note": {"S": "x"},
}
FIELDS: Final = {
    "user_id": {"S": "u1"},
    "system_id": {"S": "crm"},
    "occurred_at": {"S": "2026-01-01T00:00:00Z"},
    "event_id": {"S": "e#1"},
}


def view(**fields: Any) -> LogicalView:
    """Return the view of a single-table design; `fields` of its configuration may be replaced."""
    usual = {"keys": KEYS, "timestamps": {"occurred_at": "iso8601", "seen": "epoch_seconds"}}
    return TableConfig.model_validate({"table": "activity", **usual, **fields}).view


def test_an_item_is_expanded_by_the_fields_of_its_keys() -> None:
    """The fields are added to the stored attributes."""
    assert view().expanded(STORED, NOW) == STORED | FIELDS


def test_a_logical_item_has_times_and_no_hidden_keys() -> None:
    """Numbers that hold times become RFC 3339."""
    shown = {"seen": {"S": "2026-01-01T00:00:00Z"}, "note": {"S": "x"}}
    hiding = view(expose_keys=False)
    assert hiding.logical(hiding.expanded(STORED, NOW)) == FIELDS | shown
    open_ = view()
    assert open_.logical(open_.expanded(STORED, NOW)) == STORED | FIELDS | shown


def test_keys_of_another_kind_give_no_fields() -> None:
    """Keys that are missing, or of another type as in an index, give no fields either."""
    item = {"PK": {"S": "SYSTEM#crm"}, "SK": {"S": "META"}, "GS1_PK": {"N": "1"}}
    assert view().expanded(item, NOW) == item


def test_a_stored_attribute_is_no_field() -> None:
    """The key decides a condition on a field; a stored copy of the field must not contradict it."""
    item = {**STORED, "user_id": {"S": "another"}, "event_id": {"N": "5"}}
    assert view().expanded(item, NOW) == STORED | FIELDS
    other = {"PK": {"S": "OTHER"}, "user_id": {"S": "u1"}}
    assert view().expanded(other, NOW) == {"PK": {"S": "OTHER"}}


def test_a_stored_attribute_is_shown_where_no_key_gives_the_field() -> None:
    """No stored attribute is dropped, but the field of a key takes precedence."""
    item = {**STORED, "user_id": {"S": "another"}, "event_id": {"N": "5"}}
    shown = view().with_stored_fields(view().expanded(item, NOW))
    assert {name: shown[name] for name in FIELDS} == FIELDS
    other = {"PK": {"S": "OTHER"}, "user_id": {"L": []}, "occurred_at": {"S": "yesterday"}}
    expanded = view().expanded(other, NOW)
    assert view().logical(view().with_stored_fields(expanded)) == other


def test_the_first_key_gives_the_value_of_a_field() -> None:
    """A later key gives the value only if the first one does not."""
    item = {**STORED, "GS1_SK": {"S": "2025-05-05T05:05:05Z#e2"}}
    assert view().expanded(item, NOW)["event_id"] == {"S": "e#1"}
    item["SK"] = {"S": "META"}
    assert view().expanded(item, NOW)["event_id"] == {"S": "e2"}


def test_a_field_without_a_valid_time_is_left_out() -> None:
    """A text of the right width is not enough."""
    item = {"PK": {"S": "USER#u1"}, "SK": {"S": "2026-13-01T00:00:00Z#e1"}}
    expanded = view().expanded(item, NOW)
    assert "occurred_at" not in expanded
    assert expanded["event_id"] == {"S": "e1"}


def test_values_that_are_not_times_are_unchanged() -> None:
    """A value that is not a time in the form is shown unchanged, with any type."""
    for odd in ({"S": "soon"}, {"N": "0.5"}, {"N": "1E30"}, {"NULL": True}):
        assert view().logical({"seen": odd}) == {"seen": odd}


def test_parts_of_items_are_shown_too() -> None:
    """A part of an item, as a projection leaves it, is converted like a whole item."""
    assert view(expose_keys=False).logical({"PK": {"S": "USER#u1"}, "note": {"S": "x"}}) == {
        "note": {"S": "x"}
    }
    assert view().logical({}) == {}


@pytest.mark.parametrize(
    ("value", "expired"),
    [
        ({"N": str(NOW)}, True),
        ({"N": str(NOW - 1)}, True),
        ({"N": str(NOW + 1)}, False),
        ({"N": f"{NOW}.5"}, False),
        ({"N": "1.767225599E9"}, True),
        ({"N": str(NOW - FIVE_YEARS + 1)}, True),
        ({"N": str(NOW - FIVE_YEARS)}, False),
        ({"N": str(NOW * 1000)}, False),
        ({"N": "0"}, False),
        ({"N": "-1"}, False),
        ({"N": "9E125"}, False),
        ({"S": str(NOW - 1)}, False),
        ({"N": "soon"}, False),
        ({"N": "NaN"}, False),
        ({"NULL": True}, False),
        (None, False),
    ],
)
def test_items_expire_as_dynamodb_says(value: Any, expired: bool) -> None:
    """An item expires by a number of seconds that is not more than five years ago."""
    item = {"id": {"S": "x"}} | ({} if value is None else {"gone_at": value})
    hiding = view(keys={}, time_to_live="gone_at", hide_expired=True)
    expanded = hiding.expanded(item, NOW)
    assert has_expired(expanded) is expired
    assert expanded == item
    assert hiding.logical(expanded) == item
    assert not has_expired(view(keys={}, time_to_live="gone_at").expanded(item, NOW))


def test_no_attribute_can_pass_for_a_mark() -> None:
    """The mark of an expired item is not an attribute, so no attribute can imitate it."""
    hiding = view(keys={}, time_to_live="gone_at", hide_expired=True)
    for name in ("\0expired", "expired", "has_expired", ""):
        item = {"id": {"S": "x"}, name: {"BOOL": True}}
        assert not has_expired(hiding.expanded(item, NOW))
        assert hiding.logical(hiding.expanded(item, NOW)) == item


def test_the_sources_of_names_are_known() -> None:
    """A field comes from the keys that hold it, any other name from itself."""
    hiding = view(time_to_live="gone_at", hide_expired=True)
    assert hiding.sources("user_id") == ("PK",)
    assert hiding.sources("event_id") == ("SK", "GS1_SK")
    assert hiding.sources("note") == ("note",)
    assert hiding.stored_names(("occurred_at", "note", "event_id", "PK")) == [
        "SK", "GS1_SK", "note", "PK",
    ]  # fmt: skip


def test_fields_differ_from_stored_attributes() -> None:
    """DynamoDB can filter by stored attributes only."""
    assert view().is_field("occurred_at")
    assert not view().is_field("seen")
    assert not view().is_field("PK")


def test_a_plain_table_has_the_identity_view() -> None:
    """Any one of the four options makes a view."""
    assert TableConfig(table="activity").view.is_identity
    assert view(keys={}, timestamps={}, time_to_live="gone_at").is_identity
    assert not view(keys={}).is_identity
    assert not view(timestamps={}).is_identity
    assert not view(keys={}, timestamps={}, time_to_live="x", hide_expired=True).is_identity
