"""One of several replicas consumes a stream, and the next continues from its checkpoint."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from dynamodb_processor_server.change_streams.consumer import StreamConsumer
from dynamodb_processor_server.change_streams.leader_election import LEASE_SECONDS, LeaderElector
from dynamodb_processor_server.change_streams.port import Checkpoint
from dynamodb_processor_server.errors import BackendUnavailable
from dynamodb_processor_server.runtime.timing import Clock
from tests.support.leases import MemoryLeases, SeverableLeases
from tests.support.warped_time import warped
from tests.unit.change_streams.scripted_stream import (
    POLL_SETTINGS,
    RecordingCache,
    ScriptedStream,
    event,
    invalidations_of,
    table_with_stream,
)


class Replica:
    """A replica that can be disconnected from the leases, or die."""

    def __init__(self, fleet: Fleet) -> None:
        self.leases = SeverableLeases(fleet.leases)
        self.elector = LeaderElector("t", self.leases, self._make, fleet.clock)
        self.task = asyncio.create_task(self.elector.run())
        self._fleet = fleet

    @property
    def leads(self) -> bool:
        """Whether it runs the consumer."""
        return self.elector.consumer is not None

    async def stop(self) -> None:
        """Stop the replica."""
        self.task.cancel()
        await asyncio.wait((self.task,))

    async def die(self) -> None:
        """Stop the replica without releasing its lease."""
        self.leases.is_cut = True
        await self.stop()

    def _make(self, resume: Checkpoint) -> StreamConsumer:
        fleet = self._fleet
        return StreamConsumer(
            lambda: fleet.table,
            fleet.stream,
            fleet.cache,
            POLL_SETTINGS,
            fleet.clock,
            resume=resume,
        )


class Fleet:
    """Two replicas, the stream they consume and the cache they share."""

    def __init__(self) -> None:
        clock = asyncio.get_running_loop().time
        self.clock = Clock(clock, asyncio.sleep, lambda: 0.5, clock)
        self.leases = MemoryLeases(clock)
        self.stream = ScriptedStream()
        self.cache = RecordingCache()
        self.table = table_with_stream()
        self.replicas = [Replica(self)]

    async def led(self) -> Replica:
        """Return the only leader, after a write that gives it a checkpoint."""
        await asyncio.sleep(1)
        self.stream.write("a", None, event("before", "1"))
        self.replicas.append(Replica(self))
        await asyncio.sleep(3)
        first, second = self.replicas
        assert (first.leads, second.leads) == (True, False)
        invalidations = self.cache.take()
        # Writes before it are unknown: it invalidates the table at once and when it has started.
        assert (invalidations[:2], sorted(invalidations[2:])) == (
            ["table"] * 2,
            invalidations_of("before"),
        )
        return first

    async def after(self, seconds: float) -> list[str]:
        """Let time pass and return its invalidations, sorted."""
        await asyncio.sleep(seconds)
        return sorted(self.cache.take())


@asynccontextmanager
async def elected() -> AsyncIterator[Fleet]:
    """Let replicas stand for election for the time of the `async with`."""
    fleet = Fleet()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(lambda: asyncio.gather(*(r.stop() for r in fleet.replicas)))
        yield fleet


@warped
async def test_when_the_leader_dies_the_next_continues_from_its_checkpoint() -> None:
    """Soon after the lease ends, no write in between is lost, and the table stays valid."""
    async with elected() as fleet:
        leader = await fleet.led()
        await leader.die()
        fleet.stream.write("a", None, event("between", "1"))
        invalidations = await fleet.after(LEASE_SECONDS + 2)
        assert set(invalidations) == set(invalidations_of("between")) | (
            set(invalidations) & set(invalidations_of("before"))
        )
        assert fleet.replicas[1].leads
        fleet.stream.write("a", None, event("after", "1"))
        assert await fleet.after(2) == invalidations_of("after")


@warped
async def test_a_replica_requests_the_lease_again_after_a_defect() -> None:
    """It stops its consumer, and takes part in the next election."""
    async with elected() as fleet:
        leader = await fleet.led()
        fleet.leases.error = RuntimeError("a bug")
        await asyncio.sleep(LEASE_SECONDS)
        assert not any(replica.leads for replica in fleet.replicas)
        assert leader.elector.failures == 0
        fleet.leases.error = None
        await asyncio.sleep(LEASE_SECONDS + 2)
        assert [replica.leads for replica in fleet.replicas].count(True) == 1


@warped
async def test_a_defect_does_not_keep_a_replica_from_stopping() -> None:
    """Only the release of its lease fails."""
    async with elected() as fleet:
        leader = await fleet.led()
        fleet.leases.error = RuntimeError("a bug")
        async with asyncio.timeout(1):
            await leader.stop()


@warped
async def test_a_leader_that_stops_hands_over_at_once() -> None:
    """The next starts long before the lease would have ended, and repeats no record."""
    async with elected() as fleet:
        leader = await fleet.led()
        await leader.stop()
        fleet.stream.write("a", None, event("between", "1"))
        assert await fleet.after(2.5) == invalidations_of("between")
        assert fleet.replicas[1].leads


@warped
async def test_the_next_leader_continues_with_split_shards() -> None:
    """Ended shards are not read again, and children are read from their first record."""
    async with elected() as fleet:
        leader = await fleet.led()
        fleet.stream.split("a", "b", "c")
        fleet.stream.write("b", None, event("b", "1"))
        assert await fleet.after(4) == invalidations_of("b")
        fleet.stream.split("b", "d", listed=False)
        fleet.stream.write("d", None, event("d", "1"))
        await asyncio.sleep(2)
        await leader.die()
        fleet.stream.write("c", None, event("c", "1"))
        await asyncio.sleep(LEASE_SECONDS)
        fleet.stream.shards_of_all["d"].listed = True
        invalidations = await fleet.after(14)
        assert set(invalidations_of("c")) | set(invalidations_of("d")) <= set(invalidations)
        assert invalidations.count("table") <= 1  # the child was not listed for too long


@warped
async def test_a_leader_that_cannot_renew_its_lease_stops_consuming() -> None:
    """It stops when the lease ends, and another replica takes over."""
    async with elected() as fleet:
        leader = await fleet.led()
        leader.leases.is_cut = True
        await asyncio.sleep(LEASE_SECONDS + 0.1)
        assert not leader.leads
        assert leader.elector.failures >= 2
        assert fleet.replicas[1].elector.failures == 0
        await asyncio.sleep(2)
        assert fleet.replicas[1].leads
        leader.leases.is_cut = False
        fleet.cache.take()
        fleet.stream.write("a", None, event("after", "1"))
        assert await fleet.after(10) == invalidations_of("after")
        assert not leader.leads


@warped
async def test_without_a_valid_checkpoint_the_whole_table_is_invalidated() -> None:
    """The checkpoint is lost, too old, of an earlier stream, or before trimmed records."""
    for case in ("lost", "old", "other", "trimmed"):
        async with elected() as fleet:
            leader = await fleet.led()
            if case == "old":
                fleet.replicas[1].leases.is_cut = True
            await leader.die()
            fleet.stream.write("a", None, event("between", "1"))
            match case:
                case "lost":
                    fleet.leases.forget()
                case "old":
                    await asyncio.sleep(POLL_SETTINGS.max_lag)
                    fleet.replicas[1].leases.is_cut = False
                case "other":
                    fleet.table = table_with_stream("arn:aws:dynamodb:eu-west-1:1:table/t/stream/2")
                case _:
                    fleet.stream.trim("a")
            invalidations = await fleet.after(LEASE_SECONDS + 4)
            assert set(invalidations) == {"table"}, case
            fleet.stream.write("a", None, event("after", "1"))
            assert await fleet.after(2) == invalidations_of("after"), case


@warped
async def test_the_next_leader_continues_at_the_time_of_one_without_a_record() -> None:
    """A shard without a record since the start has no sequence number to continue from."""
    async with elected() as fleet:
        fleet.stream.open("b")
        fleet.stream.write("a", None, event("early", "1"))
        await asyncio.sleep(4)
        assert await fleet.after(0) == ["table"] * 2
        await fleet.replicas[0].die()
        fleet.stream.write("a", None, event("between", "1"))
        fleet.replicas.append(Replica(fleet))
        assert await fleet.after(LEASE_SECONDS + 2) == invalidations_of("between")
        # The third continues after the record of one shard and at the time of the other.
        await fleet.replicas[1].stop()
        fleet.stream.write("a", None, event("again-a", "1"))
        fleet.stream.write("b", None, event("again-b", "1"))
        fleet.replicas.append(Replica(fleet))
        assert await fleet.after(4) == sorted(
            [*invalidations_of("again-a"), *invalidations_of("again-b")]
        )


@warped
async def test_where_times_are_unknown_a_leader_without_a_record_hands_nothing_on() -> None:
    """The whole table is invalidated as soon as the next leader finds it out."""
    async with elected() as fleet:
        fleet.stream.knows_times = False
        await asyncio.sleep(4)
        assert await fleet.after(0) == ["table"] * 2
        await fleet.replicas[0].die()
        fleet.stream.write("a", None, event("between", "1"))
        fleet.replicas.append(Replica(fleet))
        assert set(await fleet.after(LEASE_SECONDS + 4)) == {"table"}


@warped
async def test_a_lease_that_another_holds_is_detected_at_the_next_renewal() -> None:
    """Redis may lose a lease and grant it again: the first holder stops long before its end."""
    async with elected() as fleet:
        leader = await fleet.led()
        fleet.leases.end()
        await asyncio.sleep(LEASE_SECONDS / 3 + 0.1)
        assert [replica.leads for replica in fleet.replicas].count(True) == 1
        assert leader.leads is not fleet.replicas[1].leads


@warped
async def test_the_next_leader_inherits_the_lag_of_the_last_one() -> None:
    """A stream that cannot be read has its table invalidated in time, not a lease later."""
    async with elected() as fleet:
        leader = await fleet.led()
        await leader.die()
        fleet.stream.fault = lambda *_: BackendUnavailable("down")
        fleet.stream.write("a", None, event("between", "1"))
        assert await fleet.after(LEASE_SECONDS + 1) == []
        assert fleet.replicas[1].leads
        assert await fleet.after(POLL_SETTINGS.max_lag - LEASE_SECONDS + 1) == ["table"]
