"""The followers at work: one for each table of the catalog whose stream is to be followed."""

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

_LOOK_AT_CATALOG: Final = 1.0  # seconds

# A table as it is declared: region, role, name. It may have several names in the catalog.
_Source: TypeAlias = tuple[str | None, str | None, str]
# Where it is in effect. Fleets that share a Redis may declare the same of two different tables.
_Location: TypeAlias = tuple[str, ...]


class _Running(NamedTuple):
    one: StreamConsumer | LeaderElector
    task: asyncio.Task[NoReturn]
    location: _Location


class ConsumerSupervisor:
    """Keeps a follower for each table that the catalog's declaration wants followed.

    Tables that are the same in DynamoDB share one. `follow` runs all of them. With `leases`, each
    works only while this replica is the one that is elected to follow its table.
    """

    def __init__(
        self,
        catalog: Catalog,
        source: StreamSource,
        invalidations: Invalidations,
        pace: PollSettings,
        timing: Clock | None = None,
        leases: Leases | None = None,
    ) -> None:
        self._catalog = catalog
        self._source = source
        self._invalidations = invalidations
        self._pace = pace
        self._timing = timing or Clock()
        self._leases = leases
        self._running: dict[_Source, _Running] = {}

    def __iter__(self) -> Iterator[tuple[str, StreamConsumer]]:
        """Yield each follower at work here with a name that its table has in the catalog."""
        names = self._wanted()
        for source, (one, *_) in list(self._running.items()):
            follower = one.follower if isinstance(one, LeaderElector) else one
            if source in names and follower is not None:
                yield names[source][0], follower

    def lease_failures(self) -> Iterator[tuple[str, int]]:
        """Yield how often who follows a table could not be agreed on, by a name of the table."""
        names = self._wanted()
        for source, (one, *_) in list(self._running.items()):
            if source in names and isinstance(one, LeaderElector):
                yield names[source][0], one.failures

    async def follow(self) -> NoReturn:
        """Follow what the catalog says, and go with its changes, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._adjust(tasks)
                await self._timing.sleep(_LOOK_AT_CATALOG)

    def _wanted(self) -> dict[_Source, list[str]]:
        wanted: dict[_Source, list[str]] = {}
        for name, declared in self._catalog.config.tables.items():
            if declared.invalidate_from_stream:
                source = (declared.region, declared.role_arn, declared.table)
                wanted.setdefault(source, []).append(name)
        return wanted

    def _adjust(self, tasks: asyncio.TaskGroup) -> None:
        wanted = self._wanted()
        for source in self._running.keys() - wanted.keys():
            self._running.pop(source).task.cancel()
        for source in wanted:
            table, running = self._table(source), self._running.get(source)
            # Before its table is described for the first time, no page of it is asked for.
            if table is None or (running and running.location == table.schema.identity.location):
                continue
            if running:
                running.task.cancel()
            location = table.schema.identity.location
            make = partial(self._follower, source, ConsumerStats())
            one: StreamConsumer | LeaderElector = (
                make(None)
                if self._leases is None
                else LeaderElector(_lease_name(source, location), self._leases, make, self._timing)
            )
            self._running[source] = _Running(one, tasks.create_task(one.follow()), location)

    def _follower(
        self, source: _Source, tally: ConsumerStats, resume: Checkpoint | None
    ) -> StreamConsumer:
        return StreamConsumer(
            partial(self._table, source),
            self._source,
            self._invalidations,
            self._pace,
            self._timing,
            resume=resume,
            tally=tally,
        )

    def _table(self, source: _Source) -> Table | None:
        known = map(self._catalog.known, self._wanted().get(source, ()))
        return next(filter(None, known), None)


def _lease_name(source: _Source, location: _Location) -> str:
    text = json.dumps([source, location])
    return hashlib.sha256(text.encode()).hexdigest()[:32]
