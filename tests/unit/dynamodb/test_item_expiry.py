"""How long pages are true: until the first of their items passes its time to live."""

from __future__ import annotations

from typing import Any

import pytest

from dynamodb_processor_server.dynamodb.item_expiry import EarliestExpiry
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
    """Return a plan for a table whose items say when they are gone."""
    declared = {"time_to_live": "gone_at", **fields}
    return make_plan(text, schema=SCHEMA, projection=projection, **declared)


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
def test_the_earliest_counts(values: list[Any], until: float | None) -> None:
    """Of those that are times to DynamoDB: numbers, and no more than five years past."""
    lifetime = EarliestExpiry(plan(), NOW)
    for value in values:
        lifetime.add({} if value is None else {"gone_at": value})
    assert lifetime.until == until


def test_a_table_without_one_keeps_items_for_ever() -> None:
    """As far as the catalog knows."""
    lifetime = EarliestExpiry(plan(time_to_live=None), NOW)
    lifetime.add({"gone_at": {"N": "1000000100"}})
    assert lifetime.until is None


def asked(plan: Plan) -> set[str]:
    """Return the attributes that DynamoDB is asked for."""
    (request,) = plan.requests
    return set(request.get("ExpressionAttributeNames", {}).values())


def test_it_is_read_with_what_is_asked_for() -> None:
    """And not returned; unless nothing is to be cached."""
    cached = plan("device = 'd'", "value")
    assert "gone_at" in asked(cached)
    assert cached.projection.attributes == frozenset({"value"})
    assert "gone_at" not in asked(plan("device = 'd'", "value", consistent=True))
    assert "gone_at" not in asked(plan("device = 'd'", "value", cache_ttl=0))


def test_an_index_that_lacks_it_is_read_all_the_same() -> None:
    """Nothing is got from the table for its sake."""
    assert plan("level = 'low'", "level").hydration is None
