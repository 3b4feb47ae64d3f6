"""Tags of plans: which writes invalidate the pages of a query."""

from __future__ import annotations

from decimal import Decimal

import pytest

from dynamodb_processor_server.catalog.identity import TableIdentity
from dynamodb_processor_server.query.expression.values import Value
from dynamodb_processor_server.query.planning.plan import Operation, Plan
from dynamodb_processor_server.query.planning.tags import (
    Partition,
    tags_of_partitions,
    tags_of_table,
)
from tests.support.datasets import Index, Schema
from tests.unit.dynamodb.small_table import make_plan
from tests.unit.query.tables import make_table

SCHEMA = Schema(
    "trips",
    "driver",
    "at",
    (
        Index("by_length", True, ("driver",), ("length",)),
        Index("by_route", False, ("origin", "target"), ("at",)),
    ),
    {"driver": "S", "at": "N", "length": "N", "origin": "S", "target": "N"},
)
TABLE = make_table(SCHEMA)
WHOLE = tags_of_table(TableIdentity("trips"))


def plan(text: str, index: str | None = None) -> Plan:
    """Return the plan of a query of trips."""
    return make_plan(text, schema=SCHEMA, index=index, allow_scan=True)


def written(label: str, *values: Value) -> set[object]:
    """Return the tags that a write to a partition of a path invalidates."""
    path = TABLE.schema.path(label)
    assert path is not None
    partition: Partition = (path, values)
    return set(tags_of_partitions(TableIdentity("trips"), [partition]))


def invalidates(invalidated: set[object], text: str, index: str | None = None) -> bool:
    """Return whether an invalidation of these tags ends the pages of a query."""
    return not invalidated.isdisjoint(plan(text, index).tags)


ADA = Value("S", "ada")


def test_a_partition_is_its_own_tag() -> None:
    """A write to any one of a page's partitions invalidates the page."""
    invalidated = written("@table", ADA)
    assert invalidates(invalidated, "driver = 'ada'")
    assert invalidates(invalidated, "driver = 'ada' AND at = 3")
    assert invalidates(invalidated, "driver IN ('bea', 'ada')")
    assert not invalidates(invalidated, "driver = 'bea'")
    assert not invalidates(invalidated, "driver = 'adam'")


def test_a_local_index_has_the_tables_partitions() -> None:
    """A write to a partition of the table invalidates pages of the local index."""
    assert invalidates(written("@table", ADA), "driver = 'ada' AND length > 3", "by_length")
    assert not invalidates(written("@table", ADA), "driver = 'bea' AND length > 3", "by_length")


def test_a_global_index_has_partitions_of_its_own() -> None:
    """All partition attributes count, numbers by their value."""
    text = "origin = 'ada' AND target = 1.0"
    invalidated = written("by_route", ADA, Value("N", Decimal(1)))
    assert invalidates(invalidated, text, "by_route")
    assert not invalidates(invalidated, "origin = 'ada' AND target = 2", "by_route")
    assert not invalidates(invalidated, "driver = 'ada'")
    assert not invalidates(written("@table", ADA), text, "by_route")


@pytest.mark.parametrize("invalidated", [written("@table", ADA), written("by_route", ADA, ADA)])
def test_any_write_invalidates_scans(invalidated: set[object]) -> None:
    """A scan has read every partition, also of an index."""
    assert plan("").operation is Operation.SCAN
    assert invalidates(invalidated, "")
    assert invalidates(invalidated, "", "by_route")


def test_any_write_invalidates_hydrated_items() -> None:
    """Hydrated items come from partitions that the query does not name."""
    hydrated = make_plan("level = 'low'", schema=_KEYS_ONLY)
    assert hydrated.hydration is not None
    path = hydrated.table.schema.base
    assert not set(hydrated.tags).isdisjoint(
        tags_of_partitions(TableIdentity("readings"), [(path, (ADA,))])
    )


_KEYS_ONLY = Schema(
    "readings",
    "device",
    "seq",
    (Index("by_level", False, ("level",), ("seq",), "KEYS_ONLY"),),
    {"device": "S", "seq": "N", "level": "S"},
)


@pytest.mark.parametrize("text", ["", "driver = 'ada'", "driver = 'ada' AND at < 1 AND at > 2"])
def test_the_tables_tag_invalidates_everything(text: str) -> None:
    """Every page of the table has its tag, and pages of other tables have not."""
    assert invalidates(set(WHOLE), text)
    assert not invalidates(set(tags_of_table(TableIdentity("other"))), text)
