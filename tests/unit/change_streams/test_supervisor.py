"""Followers come and go with the catalog."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from prometheus_client import CollectorRegistry

from dynamodb_processor_server.cache.generations import Generations
from dynamodb_processor_server.cache.invalidator import LocalInvalidator
from dynamodb_processor_server.catalog.catalog import Catalog
from dynamodb_processor_server.catalog.config import CatalogConfig, TableConfig
from dynamodb_processor_server.catalog.schema import TableSchema
from dynamodb_processor_server.change_streams.invalidation_sink import InvalidationSink
from dynamodb_processor_server.change_streams.port import Leases
from dynamodb_processor_server.change_streams.supervisor import ConsumerSupervisor
from dynamodb_processor_server.query.expression.values import Value
from dynamodb_processor_server.query.planning.tags import tags_of_partitions, tags_of_table
from dynamodb_processor_server.runtime.timing import Clock
from dynamodb_processor_server.telemetry.streams import StreamMetrics
from tests.support.leases import MemoryLeases, Severable
from tests.support.warped_time import warped
from tests.unit.change_streams.scripted_stream import (
    ARN,
    PACE,
    RecordingCache,
    ScriptedStream,
    event,
    streamed,
)
from tests.unit.query.tables import make_schema

FOLLOWED = {"table": "audit-events", "invalidate_from_stream": True}


class Describer:
    """Every table is the one of audit events, under its own name, at one endpoint."""

    def __init__(self, endpoint: str = "") -> None:
        self.endpoint = endpoint

    async def describe(self, name: str, config: TableConfig) -> TableSchema:
        """Return its schema."""
        schema = make_schema()
        identity = replace(schema.identity, endpoint=self.endpoint)
        return replace(schema, name=config.table, stream_arn=ARN, identity=identity)

    async def list_names(self) -> Sequence[str]:
        """Return no name."""
        return ()


class World:
    """A catalog of tables with streams, and followers of them."""

    def __init__(self, leases: Leases | None, **tables: dict[str, Any]) -> None:
        self.describer = Describer()
        self.catalog = Catalog(self.declare(**tables), self.describer)
        self.stream = ScriptedStream()
        self.cache = RecordingCache()
        timing = Clock(asyncio.get_running_loop().time, asyncio.sleep, lambda: 0.5)
        self.followers = ConsumerSupervisor(
            self.catalog, self.stream, self.cache, PACE, timing, leases
        )

    @staticmethod
    def declare(**tables: dict[str, Any]) -> CatalogConfig:
        """Return a catalog."""
        return CatalogConfig.model_validate({"tables": tables, "discover": ["x-*"]})

    async def after(self, seconds: float) -> list[str]:
        """Let time pass and return what was moved in it."""
        await asyncio.sleep(seconds)
        return self.cache.take()


@asynccontextmanager
async def running(leases: Leases | None = None, **tables: dict[str, Any]) -> AsyncIterator[World]:
    """Run the followers of a catalog's tables for the time of the `async with`."""
    world = World(leases, **tables)
    await world.catalog.refresh()
    task = asyncio.create_task(world.followers.follow())
    try:
        yield world
    finally:
        task.cancel()
        await asyncio.wait((task,))


@warped
async def test_tables_are_followed_that_say_so() -> None:
    """And no others."""
    async with running(events=FOLLOWED, other={"table": "others"}) as world:
        assert await world.after(2) == ["table"]
        assert [name for name, _ in world.followers] == ["events"]


@warped
async def test_names_of_one_table_share_a_follower() -> None:
    """A shard must not be read more often for each of them; another region is another table."""
    elsewhere = FOLLOWED | {"region": "us-east-1"}
    async with running(events=FOLLOWED, again=FOLLOWED, elsewhere=elsewhere) as world:
        assert await world.after(2) == ["table"] * 2
        assert [name for name, _ in world.followers] == ["events", "elsewhere"]


@warped
async def test_fleets_with_other_endpoints_elect_followers_of_their_own() -> None:
    """What they declare is the same, and so is their Redis; their tables are not."""
    leases = MemoryLeases(asyncio.get_running_loop().time)
    async with running(leases, events=FOLLOWED) as first, running(leases, events=FOLLOWED) as other:
        await other.after(4)
        assert sum(len(list(world.followers)) for world in (first, other)) == 1
        other.describer.endpoint = "http://localhost:8001"
        await other.catalog.refresh()
        await other.after(4)
        assert [len(list(world.followers)) for world in (first, other)] == [1, 1]


@warped
async def test_followers_go_with_the_catalog() -> None:
    """A table that is no longer to be followed is let alone; a new one is begun with a move."""
    async with running(events=FOLLOWED) as world:
        await world.after(2)
        world.catalog.replace(world.declare(events={"table": "audit-events"}))
        await world.after(2)
        world.stream.write("a", None, event("t", "1"))
        assert await world.after(60) == []
        assert list(world.followers) == []
        world.catalog.replace(world.declare(events=FOLLOWED))
        await world.catalog.refresh()
        assert await world.after(3) == ["table"]


@warped
async def test_what_followers_do_is_measured() -> None:
    """By table: how far behind, how old the records were, why whole tables were moved."""
    async with running(events=FOLLOWED) as world:
        registry = CollectorRegistry()
        StreamMetrics(registry, world.followers)
        await world.after(2)
        record = world.stream.write("a", None, event("t", "1"))
        world.stream.shards_of_all["a"].records[-1] = replace(record, age=1.5)
        await world.after(2)

        def value(name: str, **labels: str) -> float | None:
            labels["table"] = "events"
            return registry.get_sample_value(f"dynamodb_processor_stream_{name}", labels)

        assert value("table_invalidations_total", reason="started") == 1
        assert value("record_age_seconds_count") == 1
        assert value("record_age_seconds_sum") == 1.5
        assert value("record_age_seconds_bucket", le="1.0") == 0
        assert value("record_age_seconds_bucket", le="2.0") == 1
        assert value("failures_total") == 0
        behind = value("behind_seconds")
        assert behind is not None
        assert 0 <= behind < 1


@warped
async def test_leases_that_nobody_answers_for_are_counted() -> None:
    """By whoever leads, and by whoever does not."""
    leases = Severable(MemoryLeases(asyncio.get_running_loop().time))
    async with running(leases, events=FOLLOWED) as world:
        registry = CollectorRegistry()
        StreamMetrics(registry, world.followers)

        def failures() -> float | None:
            name = "dynamodb_processor_stream_lease_failures_total"
            return registry.get_sample_value(name, {"table": "events"})

        assert set(await world.after(2)) == {"table"}
        assert failures() == 0
        leases.is_cut = True
        await world.after(20)
        assert list(world.followers) == []
        counted = failures()
        assert counted is not None
        assert counted > 5


async def test_moves_end_generations() -> None:
    """Those of the partitions and of whatever any write may change, or those of the table."""
    generations = Generations()
    table = streamed()
    name = table.schema.identity
    touched = (table.schema.base, (Value("S", "t"),))
    other = (table.schema.base, (Value("S", "u"),))
    moves = InvalidationSink(LocalInvalidator(generations))
    pages = [generations.begin(tags_of_partitions(name, [p])[1:]) for p in (touched, other)]
    scan = generations.begin(tags_of_partitions(name, ()))
    whole = generations.begin(tags_of_table(name))
    await moves.invalidate_partitions(table, [touched])
    assert [reading.is_current for reading in (*pages, scan, whole)] == [False, True, False, True]
    await moves.invalidate_table(table)
    assert not whole.is_current
