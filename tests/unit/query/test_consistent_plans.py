"""A plan made strong: the requests of one that was planned so, for the same pages."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import pytest

from dynamodb_processor_server.query.planning.plan import Operation
from tests.support.datasets import Index, Schema
from tests.unit.dynamodb.small_table import make_plan

SCHEMA: Final = Schema(
    "readings",
    "device",
    "seq",
    (Index("by_time", True, ("device",), ("at",)), Index("by_level", False, ("level",), ("seq",))),
    {"device": "S", "seq": "N", "at": "N", "level": "S"},
)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("device = 'd'", {}),
        ("device = 'd' AND seq = 3", {}),
        ("device IN ('d', 'e') AND value > 7", {"descending": True}),
        ("device = 'd' AND at > 3", {"index": "by_time"}),
    ],
)
def test_it_asks_what_a_strong_plan_asks(text: str, fields: dict[str, Any]) -> None:
    """Each request, and nothing else is changed: pages are kept under the same key."""
    plan = make_plan(text, schema=SCHEMA, **fields)
    strong = plan.with_consistent_reads()
    assert strong.consistent
    assert strong.requests == make_plan(text, schema=SCHEMA, consistent=True, **fields).requests
    assert strong.requests != plan.requests
    assert (strong.cache_key, strong.key, strong.path) == (plan.cache_key, plan.key, plan.path)


@pytest.mark.parametrize(
    ("text", "operation"), [("level = 'low'", Operation.QUERY), ("", Operation.SCAN)]
)
def test_some_stay_as_they_are(text: str, operation: Operation) -> None:
    """Those of global indexes, which have no strong reads, and scans, which cost enough."""
    plan = make_plan(text, schema=SCHEMA, allow_scan=True)
    assert plan.operation is operation
    assert plan.with_consistent_reads() is plan


def test_reads_of_a_table_with_copies_elsewhere_stay_as_they_are() -> None:
    """A strong one shows what was written in its own region alone."""
    plan = make_plan(schema=SCHEMA)
    schema = replace(plan.table.schema, replicated=True)
    plan = replace(plan, table=replace(plan.table, schema=schema))
    assert plan.with_consistent_reads() is plan
