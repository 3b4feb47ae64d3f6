"""The progress of tables: claims only advance, count by path, and obey the difference of clocks."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Final

import structlog

from dynamodb_processor_server.cache.table_progress import TableProgress
from dynamodb_processor_server.catalog.schema import AccessPath, Table
from dynamodb_processor_server.query.planning.tags import progress_tag
from tests.unit.query.tables import make_table

SKEW: Final = 0.5
TABLE: Final = make_table()
BASE, LOCAL, GLOBAL = TABLE.schema.paths


def with_paths(*paths: AccessPath) -> Table:
    """Return the table with other paths."""
    return replace(TABLE, schema=replace(TABLE.schema, paths=paths))


class Clocked:
    """A table's progress, and a clock set by hand."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.progress = TableProgress(SKEW, lambda: self.now)

    def until(self, path: AccessPath = BASE) -> float:
        """Return the time of a path."""
        return self.progress.until(TABLE, path)

    def receive(self, until: float, path: AccessPath = BASE) -> None:
        """Receive a claim of another replica."""
        self.progress.receive({progress_tag(TABLE.schema.identity, path): until})


def test_nothing_is_known_at_first() -> None:
    """So no page is served by it."""
    clocked = Clocked()
    assert {clocked.until(path) for path in TABLE.schema.paths} == {-inf}


def test_a_claim_is_of_every_path_of_the_table_as_it_was_claimed() -> None:
    """Of an index that the consumer does not know, it invalidates no page."""
    clocked = Clocked()
    clocked.progress.claim(with_paths(BASE), 990.0)
    assert clocked.until(BASE) == clocked.until(LOCAL) == 990.0, "they have the same partitions"
    assert clocked.until(GLOBAL) == -inf
    clocked.progress.claim(TABLE, 991.0)
    assert clocked.until(GLOBAL) == 991.0


def test_an_index_that_was_made_anew_with_another_key_is_another_path() -> None:
    """Its pages have other partitions."""
    clocked = Clocked()
    clocked.progress.claim(TABLE, 990.0)
    key = replace(GLOBAL.key, partition=BASE.key.partition)
    assert clocked.until(replace(GLOBAL, key=key)) == -inf
    key = replace(GLOBAL.key, sort=())
    assert clocked.until(replace(GLOBAL, key=key)) == -inf


def test_tables_at_other_places_are_apart() -> None:
    """A name alone does not say which table it is."""
    clocked = Clocked()
    clocked.progress.claim(TABLE, 990.0)
    identity = replace(TABLE.schema.identity, endpoint="https://elsewhere")
    other = replace(TABLE, schema=replace(TABLE.schema, identity=identity))
    assert clocked.progress.until(other, BASE) == -inf


def test_claims_only_advance() -> None:
    """An earlier claim that arrives late changes nothing, and the later one of two counts."""
    clocked = Clocked()
    for until in (990.0, 980.0):
        clocked.progress.claim(TABLE, until)
        assert clocked.until() == 990.0
    clocked.receive(990.4)
    assert clocked.until() == 990.0
    clocked.receive(991.0)
    clocked.receive(990.0)
    assert clocked.until() == 990.5


def test_claims_of_other_replicas_count_by_the_slowest_clock_allowed() -> None:
    """Their clock may be ahead of ours."""
    clocked = Clocked()
    clocked.receive(990.0)
    assert clocked.until() == 990.0 - SKEW


def test_claims_of_a_clock_that_is_too_fast_are_refused() -> None:
    """A time that is still to come proves it, and is logged once."""
    clocked = Clocked()
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            clocked.receive(clocked.now + SKEW + 0.1)
    assert [line["event"] for line in logs] == ["replica_clock_ahead"]
    assert clocked.until() == -inf
    clocked.receive(clocked.now + SKEW)
    assert clocked.until() == clocked.now


def test_a_clock_that_was_set_back_does_not_leave_claims_of_the_future() -> None:
    """The next claim replaces them."""
    clocked = Clocked()
    clocked.progress.claim(TABLE, 990.0)
    clocked.receive(990.0)
    clocked.now = 900.0
    clocked.progress.claim(TABLE, 890.0)
    clocked.receive(880.0)
    assert clocked.until() == 890.0
