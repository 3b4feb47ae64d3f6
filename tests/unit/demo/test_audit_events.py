"""Tests of the invented audit events."""

from __future__ import annotations

import hashlib
import re

import pytest

from dynamodb_processor_client.rendering import to_json
from dynamodb_processor_server.demo.audit_events import BY_SYSTEM, BY_USER, audit_events
from dynamodb_processor_server.demo.sample_table import SampleTable

DIGEST = "f88909c67bc57d3ad7f4c11fdd5374c46a0e13b5919154e6fb1adbf73d598fe6"


@pytest.fixture(scope="module")
def events() -> SampleTable:
    """The table of audit events."""
    return audit_events()


def test_events_are_the_same_everywhere(events: SampleTable) -> None:
    """The documentation quotes the events, so a change of them must be deliberate."""
    text = "\n".join(map(to_json, events.items))
    assert hashlib.sha256(text.encode()).hexdigest() == DIGEST


def test_every_event_is_in_the_table_and_in_both_indexes(events: SampleTable) -> None:
    """No event is missing in a sparse index, as the catalog promises."""
    assert [events.count(path) for path in (None, BY_USER, BY_SYSTEM)] == [3_000] * 3
    assert all(name in item for item in events.items for name in events.required)


def test_no_two_events_have_the_same_key_or_time(events: SampleTable) -> None:
    """Keys identify events, and the order in the indexes has no ties."""
    keys = {(item["resource_id"], item["event_key"]) for item in events.items}
    assert len(keys) == len({item["occurred_at"] for item in events.items}) == 3_000


def test_times_have_one_width_and_one_zone(events: SampleTable) -> None:
    """DynamoDB compares text byte by byte, so the order of the text is that of the times."""
    times = [item["occurred_at"] for item in events.items]
    assert times == sorted(times)
    assert all(re.fullmatch(r"2026-0[1-4]-\d\dT\d\d:\d\d:\d\dZ", time) for time in times)


def test_attributes_that_not_every_event_has_are_left_out(events: SampleTable) -> None:
    """Sets are never empty, and only billing events have an amount."""
    assert all(item.get("tags", {"one"}) for item in events.items)
    assert any("tags" not in item for item in events.items)
    assert all(("amount" in item) == (item["system_id"] == "billing") for item in events.items)
