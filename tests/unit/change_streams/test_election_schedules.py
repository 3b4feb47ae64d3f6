"""Elections under random schedules of writes, deaths and losses: no write is missed.

No replica claims to have dealt with a write before that is invalidated. The endpoint knows filters
of shards and times or not, and the replicas' clocks differ from its own.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any, cast

import pytest

from dynamodb_processor_server.catalog.schema import Table
from dynamodb_processor_server.change_streams.consumer import StreamConsumer
from dynamodb_processor_server.change_streams.leader_election import LEASE_SECONDS, LeaderElector
from dynamodb_processor_server.change_streams.port import Checkpoint
from dynamodb_processor_server.change_streams.records import StreamRecord, affected_partitions
from dynamodb_processor_server.change_streams.stats import ConsumerStats
from dynamodb_processor_server.dynamodb.streams import DynamoDBStreams
from dynamodb_processor_server.query.expression.values import WireItem
from dynamodb_processor_server.runtime.timing import Clock
from tests.support.leases import MemoryLeases, SeverableLeases
from tests.support.warped_time import warped
from tests.unit.change_streams.scripted_endpoint import ScriptedEndpoint, Support
from tests.unit.change_streams.scripted_stream import (
    POLL_SETTINGS,
    RecordingCache,
    ScriptedStream,
    event,
    partition_text,
    table_with_stream,
)

_SCHEDULES = 40
_STEPS = 50
_REPLICAS = 2
# Seconds by which a replica's clock is fast. Requests that are signed by a clock that is more than
# five minutes off are refused, unless the signature is corrected.
_CLOCKS = (0.0, 2.0, 4.0, -4.0, 290.0, -290.0, 602.0, 604.0, 7_200.0, -7_200.0)
_QUIET = tuple(f"quiet-{number}" for number in range(6))
#: Seconds from a write to its record, at most as many as a consumer assumes.
_DELAYS = (0.0, 0.0, 0.3, 1.1, POLL_SETTINGS.delay - 0.01)


class _CacheOfReplica:
    """The cache of all replicas, for one whose clock shows `ahead` more than the loop's."""

    def __init__(self, cache: RecordingCache, ahead: float) -> None:
        self._cache = cache
        self._ahead = ahead
        self.invalidate_partitions = cache.invalidate_partitions
        self.invalidate_table = cache.invalidate_table

    def note_progress(self, table: Table, until: float) -> None:
        """Record a claim, by the loop's clock."""
        self._cache.note_progress(table, until - self._ahead)


class _Script:
    """One schedule of events in a fleet, and the writes of its time."""

    def __init__(self, seed: int, support: Support) -> None:
        self.random = Random(seed)
        self.stream = ScriptedStream(batch=self.random.choice((1, 3, 1_000)))
        self.stream.open(*_QUIET)
        self.endpoint = ScriptedEndpoint(self.stream, support)
        self.cache = RecordingCache()
        self.resumed = 0
        self.stats = ConsumerStats()
        # Of each write: its time, how many invalidations came before it, and which must come after.
        self.writes: list[tuple[float, int, set[str]]] = []
        self._table = table_with_stream()
        self._leases = MemoryLeases(asyncio.get_running_loop().time)
        self._shards = 0
        self._replicas = [self._start() for _ in range(_REPLICAS)]

    async def run(self) -> None:
        """Run the schedule's events, then let the elected replica catch up."""
        actions = (self._write,) * 8 + (self._split, self._die, self._stop, self._cut, self._lose)
        for _ in range(_STEPS):
            await self.random.choice(actions)()
            await asyncio.sleep(self.random.choice((0.0, 0.1, 0.7, 2.0)))
        for leases, _ in self._replicas:
            leases.is_cut = False
        await asyncio.sleep(LEASE_SECONDS * 2 + POLL_SETTINGS.max_lag * 2)
        for _, task in self._replicas:
            await _end(task)

    def _start(self) -> tuple[SeverableLeases, asyncio.Task[None]]:
        leases = SeverableLeases(self._leases)
        fast = self.random.choice(_CLOCKS)
        now = asyncio.get_running_loop().time
        clock = Clock(now, asyncio.sleep, self.random.random, lambda: self.endpoint.wall() + fast)
        source = DynamoDBStreams(cast("Any", self.endpoint), clock.wall)
        cache = _CacheOfReplica(self.cache, clock.wall() - now())

        def make(resume: Checkpoint) -> StreamConsumer:
            self.resumed += bool(resume.fingerprint)
            return StreamConsumer(
                lambda: self._table,
                source,
                cache,
                POLL_SETTINGS,
                clock,
                resume=resume,
                stats=self.stats,
            )

        candidate = LeaderElector("t", leases, make, clock)
        return leases, asyncio.create_task(candidate.run())

    async def _write(self) -> None:
        item = event(f"t-{self.random.randrange(50)}", "1")
        record = StreamRecord("", "INSERT", None, item)
        partitions = set(map(partition_text, affected_partitions(self._table.schema, record)))
        loop = asyncio.get_running_loop()
        self.writes.append((loop.time(), len(self.cache.invalidations), partitions))
        loop.call_later(self.random.choice(_DELAYS), self._append, item)

    def _append(self, item: WireItem) -> None:
        shards = self.stream.shards_of_all
        open_ones = [name for name, one in shards.items() if not one.closed]
        busy = [name for name in open_ones if not name.startswith("quiet")]
        shard = self.random.choice(busy if self.random.random() < 0.8 else open_ones)
        self.stream.write(shard, None, item)

    async def _split(self) -> None:
        shards = self.stream.shards_of_all
        parent = self.random.choice([name for name, one in shards.items() if not one.closed])
        children = [f"s-{self._shards + n}" for n in range(self.random.choice((1, 2)))]
        self._shards += len(children)
        self.stream.split(parent, *children)

    async def _die(self) -> None:
        await self._replace(cut=True)

    async def _stop(self) -> None:
        await self._replace(cut=False)

    async def _replace(self, *, cut: bool) -> None:
        leases, task = self._replicas.pop(self.random.randrange(_REPLICAS))
        leases.is_cut = leases.is_cut or cut
        await _end(task)
        self._replicas.append(self._start())

    async def _cut(self) -> None:
        leases, _ = self.random.choice(self._replicas)
        leases.is_cut = not leases.is_cut

    async def _lose(self) -> None:
        if self.random.random() < 0.3:
            self._leases.forget()


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait((task,))


@pytest.mark.parametrize("support", Support)
@warped
async def test_every_write_is_followed_by_its_invalidations_across_elections(
    support: Support,
) -> None:
    """Each partition that it affects, or rarely the table, is invalidated after it.

    At a claim that is later than the write, that has happened.
    """
    writes = by_partition = resumed = claims = 0
    for seed in range(_SCHEDULES):
        script = _Script(seed, support)
        await script.run()
        claims += len(script.cache.claims)
        for finished, before, partitions in script.writes:
            after = set(script.cache.invalidations[before:])
            assert "table" in after or partitions <= after, (seed, partitions - after)
            made = min((at for until, at in script.cache.claims if until > finished), default=None)
            claimed = set(script.cache.invalidations[before:made])
            assert "table" in claimed or partitions <= claimed, (seed, partitions - claimed)
            writes += 1
            by_partition += partitions <= after
        resumed += script.resumed
    assert resumed > _SCHEDULES, "few continued from a checkpoint"
    assert claims > _SCHEDULES * 50
    assert by_partition > writes / 2, "most writes did not invalidate the table"
