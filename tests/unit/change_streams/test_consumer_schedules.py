"""A consumer under random schedules of writes, splits and failures: it misses no write.

It claims nothing of a write before that is invalidated, although records appear late.
"""

from __future__ import annotations

import asyncio
from random import Random

from dynamodb_processor_server.change_streams.records import StreamRecord, affected_partitions
from dynamodb_processor_server.errors import BackendUnavailable
from tests.support.warped_time import warped
from tests.unit.change_streams.scripted_stream import (
    POLL_SETTINGS,
    ConsumedStream,
    ScriptedStream,
    consuming,
    event,
    partition_text,
    table_with_stream,
)

_SCHEDULES = 40
_STEPS = 60
_USERS = ("u-1", "u-2", "u-3", None)
#: Seconds from a write to its record, at most as many as the consumer assumes.
_DELAYS = (0.0, 0.0, 0.3, 1.1, POLL_SETTINGS.delay - 0.01)


class _Script:
    """One schedule of events on a stream, and the writes of its time."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.stream = ScriptedStream(
            batch=self.random.choice((1, 3, 1_000)), late_latest=self.random.random() < 0.5
        )
        self.stream.fault = self._fault
        self.fault_rate = 0.0
        # Of each write: its time, how many invalidations came before it, and which must come after.
        self.writes: list[tuple[float, int, set[str]]] = []
        self._shards = 0

    async def run(self, consumed: ConsumedStream) -> None:
        """Run the schedule's events, then let the consumer catch up."""
        actions = (self._write,) * 6 + (self._split, self._expire, self._trim, self._disturb)
        for _ in range(_STEPS):
            self.random.choice(actions)(consumed)
            await asyncio.sleep(self.random.choice((0.0, 0.1, 0.7, 3.0)))
            self._list_all(self.random.random() < 0.5)
        self.fault_rate = 0.0
        self._list_all(True)
        await asyncio.sleep(40)

    def _fault(self, operation: str, shard_id: str) -> Exception | None:
        failing = self.random.random() < self.fault_rate
        return BackendUnavailable(f"{operation} {shard_id}") if failing else None

    def _open(self) -> str:
        shards = self.stream.shards_of_all
        return self.random.choice([name for name, shard in shards.items() if not shard.closed])

    def _write(self, consumed: ConsumedStream) -> None:
        random = self.random
        tenant = f"t-{random.randrange(3)}"
        old, new = (event(tenant, "1", random.choice(_USERS)) for _ in range(2))
        shown = random.choice((None, old))
        record = StreamRecord("", "INSERT" if shown is None else "MODIFY", shown, new)
        partitions = set(
            map(partition_text, affected_partitions(table_with_stream().schema, record))
        )
        loop = asyncio.get_running_loop()
        self.writes.append((loop.time(), len(consumed.cache.invalidations), partitions))
        loop.call_later(random.choice(_DELAYS), lambda: self.stream.write(self._open(), shown, new))

    def _split(self, _: ConsumedStream) -> None:
        children = [f"s-{self._shards + n}" for n in range(self.random.choice((1, 2)))]
        self._shards += len(children)
        self.stream.split(self._open(), *children, listed=self.random.random() < 0.5)

    def _list_all(self, wanted: bool) -> None:
        for shard in self.stream.shards_of_all.values():
            shard.listed = shard.listed or wanted

    def _expire(self, _: ConsumedStream) -> None:
        self.stream.expire_iterators()

    def _trim(self, _: ConsumedStream) -> None:
        if self.random.random() < 0.2:
            self.stream.trim(self.random.choice(list(self.stream.shards_of_all)))

    def _disturb(self, _: ConsumedStream) -> None:
        self.fault_rate = self.random.choice((0.0, 0.0, 0.5, 1.0))


@warped
async def test_every_write_is_followed_by_its_invalidations() -> None:
    """Each partition that it affects, or the table, is invalidated after it.

    At a claim that is later than the write, that has happened.
    """
    writes = by_partition = claims = claimed_by_partition = 0
    for seed in range(_SCHEDULES):
        script = _Script(seed)
        async with consuming(script.stream) as consumed:
            await script.run(consumed)
            assert consumed.consumer.lag < 1, seed
        claims += len(consumed.cache.claims)
        for finished, before, partitions in script.writes:
            after = set(consumed.cache.invalidations[before:])
            assert "table" in after or partitions <= after, (seed, partitions - after)
            made = min(at for until, at in consumed.cache.claims if until > finished)
            claimed = set(consumed.cache.invalidations[before:made])
            assert "table" in claimed or partitions <= claimed, (seed, partitions - claimed)
            writes += 1
            by_partition += partitions <= after
            claimed_by_partition += "table" not in claimed
    assert by_partition > writes / 2, "most writes did not invalidate the table"
    assert claims > _SCHEDULES * 100
    assert claimed_by_partition > writes / 2, "claims speak for partitions too"
