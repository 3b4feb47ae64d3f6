"""Consumers start and stop with the catalog."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from prometheus_client import CollectorRegistry

from dynamodb_processor_server.cache.generations import Generations
from dynamodb_processor_server.cache.invalidator import LocalInvalidator
from dynamodb_processor_server.cache.item_cache import ItemCache
from dynamodb_processor_server.cache.item_refresh import ItemRefresh
from dynamodb_processor_server.cache.page_store import PageStore
from dynamodb_processor_server.cache.table_progress import TableProgress
from dynamodb_processor_server.catalog.catalog import Catalog
from dynamodb_processor_server.catalog.config import CatalogConfig, TableConfig
from dynamodb_processor_server.catalog.schema import TableSchema
from dynamodb_processor_server.change_streams.invalidation_sink import InvalidationSink
from dynamodb_processor_server.change_streams.port import Leases
from dynamodb_processor_server.change_streams.supervisor import ConsumerSupervisor
from dynamodb_processor_server.dynamodb.item_decoding import decode_item
from dynamodb_processor_server.dynamodb.item_encoding import exact_message
from dynamodb_processor_server.query.expression.values import Value
from dynamodb_processor_server.query.planning.tags import tags_of_partitions, tags_of_table
from dynamodb_processor_server.runtime.timing import Clock
from dynamodb_processor_server.telemetry.streams import StreamMetrics
from tests.support.leases import MemoryLeases, SeverableLeases
from tests.support.warped_time import warped
from tests.unit.change_streams.scripted_stream import (
    ARN,
    POLL_SETTINGS,
    RecordingCache,
    ScriptedStream,
    event,
    table_with_stream,
)
from tests.unit.query.tables import make_schema

CONSUMED = {"table": "audit-events", "invalidate_from_stream": True}


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


class Supervised:
    """A catalog of tables with streams, and their consumers."""

    def __init__(self, leases: Leases | None, **tables: dict[str, Any]) -> None:
        self.describer = Describer()
        self.catalog = Catalog(self.declare(**tables), self.describer)
        self.stream = ScriptedStream()
        self.cache = RecordingCache()
        clock = Clock(asyncio.get_running_loop().time, asyncio.sleep, lambda: 0.5)
        self.supervisor = ConsumerSupervisor(
            self.catalog, self.stream, self.cache, POLL_SETTINGS, clock, leases
        )

    @staticmethod
    def declare(**tables: dict[str, Any]) -> CatalogConfig:
        """Return a catalog."""
        return CatalogConfig.model_validate({"tables": tables, "discover": ["x-*"]})

    async def after(self, seconds: float) -> list[str]:
        """Let time pass and return its invalidations."""
        await asyncio.sleep(seconds)
        return self.cache.take()


@asynccontextmanager
async def running(
    leases: Leases | None = None, **tables: dict[str, Any]
) -> AsyncIterator[Supervised]:
    """Run the consumers of a catalog's tables for the time of the `async with`."""
    supervised = Supervised(leases, **tables)
    await supervised.catalog.refresh()
    task = asyncio.create_task(supervised.supervisor.run())
    try:
        yield supervised
    finally:
        task.cancel()
        await asyncio.wait((task,))


@warped
async def test_streams_are_consumed_of_tables_configured_for_it() -> None:
    """Other tables get no consumer."""
    async with running(events=CONSUMED, other={"table": "others"}) as supervised:
        assert await supervised.after(2) == ["table"]
        assert [name for name, _ in supervised.supervisor] == ["events"]


@warped
async def test_names_of_one_table_share_a_consumer() -> None:
    """More names must not cause more reads of a shard; another region is another table."""
    elsewhere = CONSUMED | {"region": "us-east-1"}
    async with running(events=CONSUMED, again=CONSUMED, elsewhere=elsewhere) as supervised:
        assert await supervised.after(2) == ["table"] * 2
        assert [name for name, _ in supervised.supervisor] == ["events", "elsewhere"]


@warped
async def test_fleets_with_different_endpoints_hold_separate_elections() -> None:
    """Their configuration and their Redis are the same; their tables are not."""
    leases = MemoryLeases(asyncio.get_running_loop().time)
    async with running(leases, events=CONSUMED) as first, running(leases, events=CONSUMED) as other:
        await other.after(4)
        assert sum(len(list(supervised.supervisor)) for supervised in (first, other)) == 1
        other.describer.endpoint = "http://localhost:8001"
        await other.catalog.refresh()
        await other.after(4)
        assert [len(list(supervised.supervisor)) for supervised in (first, other)] == [1, 1]


@warped
async def test_replicas_elect_a_consumer_beside_one_of_an_older_release() -> None:
    """The older one does not invalidate all that these replicas cache."""
    leases = MemoryLeases(asyncio.get_running_loop().time)
    async with running(leases, events=CONSUMED) as supervised:
        table = supervised.catalog.known("events")
        assert table is not None
        text = json.dumps([(None, None, "audit-events"), table.schema.identity.location])
        name = hashlib.sha256(text.encode()).hexdigest()[:32]
        assert await leases.acquire(name, "older", 3_600.0) is not None
        await supervised.after(4)
        assert [consumed for consumed, _ in supervised.supervisor] == ["events"]


@warped
async def test_consumers_follow_changes_of_the_catalog() -> None:
    """The consumer of a removed table stops; a new one starts with an invalidation."""
    async with running(events=CONSUMED) as supervised:
        await supervised.after(2)
        supervised.catalog.replace(supervised.declare(events={"table": "audit-events"}))
        await supervised.after(2)
        supervised.stream.write("a", None, event("t", "1"))
        assert await supervised.after(60) == []
        assert list(supervised.supervisor) == []
        supervised.catalog.replace(supervised.declare(events=CONSUMED))
        await supervised.catalog.refresh()
        assert await supervised.after(3) == ["table"]


@warped
async def test_consumers_are_measured() -> None:
    """By table: the lag, the ages of records, the reasons for invalidating whole tables."""
    async with running(events=CONSUMED) as supervised:
        registry = CollectorRegistry()
        progress = TableProgress(0.5)
        StreamMetrics(registry, supervised.supervisor, progress)
        await supervised.after(2)
        record = supervised.stream.write("a", None, event("t", "1"))
        supervised.stream.shards_of_all["a"].records[-1] = replace(record, age=1.5)
        await supervised.after(2)

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
async def test_the_age_of_progress_is_measured_on_every_replica() -> None:
    """A replica that does not consume the stream learns the progress from the one that does."""
    leases = MemoryLeases(asyncio.get_running_loop().time)
    async with running(leases, events=CONSUMED) as first, running(leases, events=CONSUMED) as other:
        await other.after(4)
        registry, progress = CollectorRegistry(), TableProgress(0.5)
        (idle,) = (one for one in (first, other) if not list(one.supervisor))
        StreamMetrics(registry, idle.supervisor, progress, lambda: 1_000.0)

        def age() -> float | None:
            name = "dynamodb_processor_stream_progress_age_seconds"
            return registry.get_sample_value(name, {"table": "events"})

        assert age() is None
        table = idle.catalog.known("events")
        assert table is not None
        progress.claim(table, 997.0)
        assert age() == 3.0


@warped
async def test_failed_lease_requests_are_counted() -> None:
    """The leader counts them, and so do the other replicas."""
    leases = SeverableLeases(MemoryLeases(asyncio.get_running_loop().time))
    async with running(leases, events=CONSUMED) as supervised:
        registry = CollectorRegistry()
        StreamMetrics(registry, supervised.supervisor, TableProgress(0.5))

        def failures() -> float | None:
            name = "dynamodb_processor_stream_lease_failures_total"
            return registry.get_sample_value(name, {"table": "events"})

        assert set(await supervised.after(2)) == {"table"}
        assert failures() == 0
        leases.is_cut = True
        await supervised.after(20)
        assert list(supervised.supervisor) == []
        counted = failures()
        assert counted is not None
        assert counted > 5


async def test_the_sink_invalidates_generations() -> None:
    """It ends those of the partitions and of scans, or all of the table."""
    generations = Generations()
    table = table_with_stream()
    name = table.schema.identity
    affected = (table.schema.base, (Value("S", "t"),))
    other = (table.schema.base, (Value("S", "u"),))
    cache = ItemCache(PageStore(1_000, time.time), generations, exact_message, decode_item)
    progress = TableProgress(0.5)
    sink = InvalidationSink(LocalInvalidator(generations), ItemRefresh(cache), progress)
    pages = [generations.begin(tags_of_partitions(name, [p])[1:]) for p in (affected, other)]
    scan = generations.begin(tags_of_partitions(name, ()))
    whole = generations.begin(tags_of_table(name))
    await sink.invalidate_partitions(table, [affected], [])
    assert [reading.is_current for reading in (*pages, scan, whole)] == [False, True, False, True]
    await sink.invalidate_table(table)
    assert not whole.is_current
    sink.note_progress(table, 1_000.0)
    assert {progress.until(table, path) for path in table.schema.paths} == {1_000.0}
