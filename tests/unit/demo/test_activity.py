"""Tests of the single-table design."""

from __future__ import annotations

from dynamodb_processor_server.catalog.config import CatalogConfig
from dynamodb_processor_server.demo.activity import BY_RESOURCE, BY_SYSTEM, activity, seen
from dynamodb_processor_server.demo.audit_events import audit_events

EVENTS = audit_events()
TABLE = activity(EVENTS)


def test_it_stores_keys_and_no_field() -> None:
    """The fields of composed keys are stored in the keys only."""
    first, event = TABLE.items[0], EVENTS.items[0]
    assert first["PK"] == f"USER#{event['user_id']}"
    assert first["SK"] == first["GS1_SK"] == first["GSI2_SK"]
    assert first["SK"] == f"{event['occurred_at']}#{event['event_id']}"
    assert first["GS1_PK"] == f"SYSTEM#{event['system_id']}"
    assert first["GSI2_PK"] == f"RESOURCE#{event['resource_id']}"
    assert first.keys().isdisjoint(("user_id", "system_id", "resource_id", "occurred_at"))


def test_every_item_is_in_every_index() -> None:
    """The catalog promises that with `required`."""
    assert TABLE.count() == TABLE.count(BY_SYSTEM) == TABLE.count(BY_RESOURCE) == 600
    assert all(name in item for item in TABLE.items for name in TABLE.required)


def test_its_view_shows_the_events() -> None:
    """The catalog's templates convert each stored item to its event."""
    catalog = CatalogConfig.model_validate({"tables": {"activity": TABLE.declaration()}})
    view = catalog.tables["activity"].view
    stored = [{n: {"S": v} for n, v in i.items() if isinstance(v, str)} for i in TABLE.items]
    shown = [view.logical(view.expanded(item, now=0.0)) for item in stored]
    events = [{n: {"S": v} for n, v in e.items() if isinstance(v, str)} for e in seen(EVENTS)]
    assert shown == events
