"""Runs one stream consumer for each table whose catalog entry sets `invalidate_from_stream`."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator
from functools import partial
from typing import Final, NamedTuple, NoReturn, TypeAlias

from dynamodb_processor_server.catalog.catalog import Catalog
from dynamodb_processor_server.catalog.schema import Table
from dynamodb_processor_server.change_streams.consumer import StreamConsumer
from dynamodb_processor_server.change_streams.leader_election import LeaderElector
from dynamodb_processor_server.change_streams.port import (
    Checkpoint,
    Invalidations,
    Leases,
    StreamSource,
)
from dynamodb_processor_server.change_streams.stats import ConsumerStats
from dynamodb_processor_server.runtime.timing import Clock, PollSettings

_CATALOG_INTERVAL: Final = 1.0  # seconds
# To be raised when a consumer invalidates more than those of earlier releases: replicas of two
# releases then elect a consumer each. Those before 2 do not know of single items.
_LEASE_VERSION: Final = 2

# A table as the catalog configures it: region, role, name. It may have several logical names.
_Source: TypeAlias = tuple[str | None, str | None, str]
# Its actual endpoint, region and name. Fleets that share a Redis may configure two different tables
# in the same way.
_Location: TypeAlias = tuple[str, ...]


class _Running(NamedTuple):
    worker: StreamConsumer | LeaderElector
    task: asyncio.Task[NoReturn]
    location: _Location


class ConsumerSupervisor:
    """Starts and stops stream consumers as the catalog says.

    Logical tables that are the same in DynamoDB share a consumer. `run` runs all of them. With
    `leases`, a consumer runs only while this replica holds the lease of its table.
    """

    def __init__(
        self,
        catalog: Catalog,
        source: StreamSource,
        invalidations: Invalidations,
        poll_settings: PollSettings,
        clock: Clock | None = None,
        leases: Leases | None = None,
    ) -> None:
        self._catalog = catalog
        self._source = source
        self._invalidations = invalidations
        self._poll_settings = poll_settings
        self._clock = clock or Clock()
        self._leases = leases
        self._running: dict[_Source, _Running] = {}

    def __iter__(self) -> Iterator[tuple[str, StreamConsumer]]:
        """Yield each running consumer with a logical name of its table."""
        names = self._tables_by_source()
        for source, (worker, *_) in list(self._running.items()):
            consumer = worker.consumer if isinstance(worker, LeaderElector) else worker
            if source in names and consumer is not None:
                yield names[source][0], consumer

    def tables(self) -> Iterator[tuple[str, Table]]:
        """Yield each table of a consumer of this or another replica, with a logical name."""
        for source, names in self._tables_by_source().items():
            table = self._table(source)
            if table is not None:
                yield names[0], table

    def lease_failures(self) -> Iterator[tuple[str, int]]:
        """Yield the number of failed lease requests with a logical name of their table."""
        names = self._tables_by_source()
        for source, (worker, *_) in list(self._running.items()):
            if source in names and isinstance(worker, LeaderElector):
                yield names[source][0], worker.failures

    async def run(self) -> NoReturn:
        """Run the consumers that the catalog asks for, and apply its changes, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._apply_catalog(tasks)
                await self._clock.sleep(_CATALOG_INTERVAL)

    def _tables_by_source(self) -> dict[_Source, list[str]]:
        names: dict[_Source, list[str]] = {}
        for name, config in self._catalog.config.tables.items():
            if config.invalidate_from_stream:
                source = (config.region, config.role_arn, config.table)
                names.setdefault(source, []).append(name)
        return names

    def _apply_catalog(self, tasks: asyncio.TaskGroup) -> None:
        sources = self._tables_by_source().keys()
        for source in self._running.keys() - sources:
            self._running.pop(source).task.cancel()
        for source in sources:
            table, running = self._table(source), self._running.get(source)
            # No page is requested of a table that was never described, so none is cached.
            if table is None or (running and running.location == table.schema.identity.location):
                continue
            if running:
                running.task.cancel()
            location = table.schema.identity.location
            make = partial(self._make_consumer, source, ConsumerStats())
            worker: StreamConsumer | LeaderElector = (
                make(None)
                if self._leases is None
                else LeaderElector(_lease_name(source, location), self._leases, make, self._clock)
            )
            self._running[source] = _Running(worker, tasks.create_task(worker.run()), location)

    def _make_consumer(
        self, source: _Source, stats: ConsumerStats, resume: Checkpoint | None
    ) -> StreamConsumer:
        return StreamConsumer(
            partial(self._table, source),
            self._source,
            self._invalidations,
            self._poll_settings,
            self._clock,
            resume=resume,
            stats=stats,
        )

    def _table(self, source: _Source) -> Table | None:
        known = map(self._catalog.known, self._tables_by_source().get(source, ()))
        return next(filter(None, known), None)


def _lease_name(source: _Source, location: _Location) -> str:
    text = json.dumps([_LEASE_VERSION, source, location])
    return hashlib.sha256(text.encode()).hexdigest()[:32]
