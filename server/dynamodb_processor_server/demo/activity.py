"""The audit events in a second table, with composed keys as in single-table designs.

Callers query users, systems, resources and times. Only the catalog knows how they form the keys.
"""

from __future__ import annotations

from typing import Final

from dynamodb_processor_server.demo.sample_table import Item, SampleKey, SampleTable

BY_SYSTEM: Final = "GS1"
BY_RESOURCE: Final = "GSI2"

_COUNT: Final = 600
_MOMENT: Final = "{occurred_at}#{event_id}"
_KEYS: Final = {
    "PK": "USER#{user_id}",
    "SK": _MOMENT,
    "GS1_PK": "SYSTEM#{system_id}",
    "GS1_SK": _MOMENT,
    "GSI2_PK": "RESOURCE#{resource_id}",
    "GSI2_SK": _MOMENT,
}
_FIELDS: Final = ("user_id", "system_id", "resource_id", "occurred_at", "event_id")
_KEPT: Final = ("action", "outcome", "amount")


def activity(events: SampleTable) -> SampleTable:
    """Return the table of the first events."""
    return SampleTable(
        name="activity",
        description="The first audit events in a single-table design, queried by logical fields",
        key=SampleKey("PK", "SK"),
        indexes={
            BY_SYSTEM: SampleKey("GS1_PK", "GS1_SK"),
            BY_RESOURCE: SampleKey("GSI2_PK", "GSI2_SK"),
        },
        required=tuple(_KEYS),
        items=tuple(_stored(event) for event in events.items[:_COUNT]),
        config={
            "timestamps": {"occurred_at": "iso8601"},
            "keys": _KEYS,
            "expose_keys": False,
        },
    )


def seen(events: SampleTable) -> list[Item]:
    """Return the items of the table in the form that callers get."""
    return [
        {name: event[name] for name in (*_FIELDS, *_KEPT) if name in event}
        for event in events.items[:_COUNT]
    ]


def _stored(event: Item) -> Item:
    keys = {name: template.format_map(event) for name, template in _KEYS.items()}
    return keys | {name: event[name] for name in _KEPT if name in event}
