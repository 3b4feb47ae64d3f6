"""Plans changed to consistent reads, as in quarantine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import pytest

from dynamodb_processor_server.query.planning.plan import Operation, ReadLag
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
def test_it_sends_the_requests_of_a_consistent_plan(text: str, fields: dict[str, Any]) -> None:
    """Only the requests change; the pages keep their cache key."""
    plan = make_plan(text, schema=SCHEMA, **fields)
    consistent = plan.with_consistent_reads()
    assert consistent.consistent
    assert consistent.requests == make_plan(text, schema=SCHEMA, consistent=True, **fields).requests
    assert consistent.requests != plan.requests
    assert (consistent.cache_key, consistent.key, consistent.path) == (
        plan.cache_key,
        plan.key,
        plan.path,
    )


@pytest.mark.parametrize(
    ("text", "operation"), [("level = 'low'", Operation.QUERY), ("", Operation.SCAN)]
)
def test_some_plans_do_not_change(text: str, operation: Operation) -> None:
    """Global indexes have no consistent reads, and for scans they cost too much."""
    plan = make_plan(text, schema=SCHEMA, allow_scan=True)
    assert plan.operation is operation
    assert plan.with_consistent_reads() is plan


def test_a_caller_may_want_consistent_scans() -> None:
    """DynamoDB has them, and the caller pays for them; global indexes have none all the same."""
    scan = make_plan("", schema=SCHEMA, allow_scan=True)
    consistent = scan.with_consistent_reads(everywhere=True)
    assert all(request["ConsistentRead"] for request in consistent.requests)
    assert (scan.lag, consistent.lag) == (ReadLag.TABLE, ReadLag.NONE)
    index = make_plan("level = 'low'", schema=SCHEMA)
    assert index.with_consistent_reads(everywhere=True) is index
    assert index.lag is ReadLag.INDEX


def test_plans_of_replicated_tables_do_not_change() -> None:
    """A consistent read sees only the writes of its own region."""
    plan = make_plan(schema=SCHEMA)
    schema = replace(plan.table.schema, replicated=True)
    plan = replace(plan, table=replace(plan.table, schema=schema))
    assert plan.with_consistent_reads() is plan
    consistent = plan.with_consistent_reads(everywhere=True)
    assert consistent.consistent
    assert consistent.lag is ReadLag.TABLE, "what was written in another region may be missing"
