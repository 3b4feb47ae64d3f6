"""The expiry of a page: the earliest TTL expiry among its items."""

from __future__ import annotations

from typing import Any

import pytest

from dynamodb_processor_server.dynamodb.item_expiry import EarliestExpiry
from dynamodb_processor_server.query.expression.values import WireItem
from dynamodb_processor_server.query.planning.plan import Plan
from tests.support.datasets import Index, Schema
from tests.unit.dynamodb.small_table import make_plan

NOW = 1_000_000_000.0
SCHEMA = Schema(
    "readings",
    "device",
    "seq",
    (Index("by_level", False, ("level",), ("seq",), "KEYS_ONLY"),),
    {"device": "S", "seq": "N", "level": "S"},
)


def plan(text: str = "device = 'd'", *projection: str, **fields: Any) -> Plan:
    """Return a plan for a table whose TTL attribute is `gone_at`."""
    config = {"time_to_live": "gone_at", **fields}
    return make_plan(text, schema=SCHEMA, projection=projection, **config)


@pytest.mark.parametrize(
    ("values", "until"),
    [
        ([], None),
        ([None], None),
        ([{"N": "1000000100"}, None, {"N": "1000000050.5"}], 1_000_000_050.5),
        ([{"N": "999999999"}], 999_999_999.0),
        ([{"N": "5"}], None),
        ([{"S": "1000000100"}], None),
        ([{"N": "1E125"}], 1e125),
    ],
    ids=["none", "without", "earliest", "past", "too old to be one", "no number", "never"],
)
def test_the_earliest_expiry_counts(values: list[Any], until: float | None) -> None:
    """DynamoDB expires items by numbers that are at most five years past."""
    lifetime = EarliestExpiry(plan(), NOW)
    items: list[WireItem] = [{} if value is None else {"gone_at": value} for value in values]
    lifetime.add(items[:1])
    lifetime.add(items[1:])
    assert lifetime.until == until


def test_items_of_a_table_without_ttl_never_expire() -> None:
    """The catalog names no TTL attribute for it."""
    lifetime = EarliestExpiry(plan(time_to_live=None), NOW)
    lifetime.add([{"gone_at": {"N": "1000000100"}}])
    assert lifetime.until is None


def requested(plan: Plan) -> set[str]:
    """Return the attributes that the plan requests from DynamoDB."""
    (request,) = plan.requests
    return set(request.get("ExpressionAttributeNames", {}).values())


def test_the_ttl_attribute_is_read_and_not_returned() -> None:
    """It is not read if the page is not cached."""
    cached = plan("device = 'd'", "value")
    assert "gone_at" in requested(cached)
    assert cached.projection.attributes == frozenset({"value"})
    assert "gone_at" not in requested(plan("device = 'd'", "value", consistent=True))
    assert "gone_at" not in requested(plan("device = 'd'", "value", cache_ttl=0))


def test_an_index_without_the_ttl_attribute_is_not_hydrated_for_it() -> None:
    """The index is read without it."""
    assert plan("level = 'low'", "level").hydration is None
