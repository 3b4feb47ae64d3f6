"""Tags: which invalidations end which pages."""

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
    """Return the plan of a question about trips."""
    return make_plan(text, schema=SCHEMA, index=index, allow_scan=True)


def written(label: str, *values: Value) -> set[object]:
    """Return the tags that move when a partition of a path was written to."""
    path = TABLE.schema.path(label)
    assert path is not None
    partition: Partition = (path, values)
    return set(tags_of_partitions(TableIdentity("trips"), [partition]))


def ends(moved: set[object], text: str, index: str | None = None) -> bool:
    """Return whether an invalidation ends the pages of a question."""
    return not moved.isdisjoint(plan(text, index).tags)


ADA = Value("S", "ada")


def test_a_partition_is_its_own_tag() -> None:
    """Of several, any one of them is enough."""
    moved = written("@table", ADA)
    assert ends(moved, "driver = 'ada'")
    assert ends(moved, "driver = 'ada' AND at = 3")
    assert ends(moved, "driver IN ('bea', 'ada')")
    assert not ends(moved, "driver = 'bea'")
    assert not ends(moved, "driver = 'adam'")


def test_a_local_index_has_the_tables_partitions() -> None:
    """Whoever names one names the other."""
    assert ends(written("@table", ADA), "driver = 'ada' AND length > 3", "by_length")
    assert not ends(written("@table", ADA), "driver = 'bea' AND length > 3", "by_length")


def test_a_global_index_has_partitions_of_its_own() -> None:
    """All of their attributes count, numbers by their value."""
    text = "origin = 'ada' AND target = 1.0"
    moved = written("by_route", ADA, Value("N", Decimal(1)))
    assert ends(moved, text, "by_route")
    assert not ends(moved, "origin = 'ada' AND target = 2", "by_route")
    assert not ends(moved, "driver = 'ada'")
    assert not ends(written("@table", ADA), text, "by_route")


@pytest.mark.parametrize("moved", [written("@table", ADA), written("by_route", ADA, ADA)])
def test_scans_end_with_any_write(moved: set[object]) -> None:
    """They have read every partition, of an index too."""
    assert plan("").operation is Operation.SCAN
    assert ends(moved, "")
    assert ends(moved, "", "by_route")


def test_completed_items_end_with_any_write() -> None:
    """They come from partitions that the question does not name."""
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
def test_the_table_ends_everything(text: str) -> None:
    """Every page of it has its tag; other tables' pages have not."""
    assert ends(set(WHOLE), text)
    assert not ends(set(tags_of_table(TableIdentity("other"))), text)
