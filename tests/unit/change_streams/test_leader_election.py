"""One of several replicas follows a stream, and the next goes on where it stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from dynamodb_processor_server.change_streams.consumer import StreamConsumer
from dynamodb_processor_server.change_streams.leader_election import LEASE_SECONDS, LeaderElector
from dynamodb_processor_server.change_streams.port import Checkpoint
from dynamodb_processor_server.errors import BackendUnavailable
from dynamodb_processor_server.runtime.timing import Clock
from tests.support.leases import MemoryLeases, Severable
from tests.support.warped_time import warped
from tests.unit.change_streams.scripted_stream import (
    PACE,
    RecordingCache,
    ScriptedStream,
    event,
    streamed,
    touching,
)


class Replica:
    """A candidate that can be cut off from the leases, or die."""

    def __init__(self, fleet: Fleet) -> None:
        self.leases = Severable(fleet.leases)
        self.candidate = LeaderElector("t", self.leases, self._make, fleet.timing)
        self.task = asyncio.create_task(self.candidate.follow())
        self._fleet = fleet

    @property
    def leads(self) -> bool:
        """Whether it follows."""
        return self.candidate.follower is not None

    async def stop(self) -> None:
        """End it."""
        self.task.cancel()
        await asyncio.wait((self.task,))

    async def die(self) -> None:
        """End it without a word to the others."""
        self.leases.is_cut = True
        await self.stop()

    def _make(self, resume: Checkpoint) -> StreamConsumer:
        fleet = self._fleet
        return StreamConsumer(
            lambda: fleet.table, fleet.stream, fleet.cache, PACE, fleet.timing, resume=resume
        )


class Fleet:
    """Two replicas, the stream they follow and the cache they share."""

    def __init__(self) -> None:
        clock = asyncio.get_running_loop().time
        self.timing = Clock(clock, asyncio.sleep, lambda: 0.5)
        self.leases = MemoryLeases(clock)
        self.stream = ScriptedStream()
        self.cache = RecordingCache()
        self.table = streamed()
        self.replicas = [Replica(self)]

    async def led(self) -> Replica:
        """Return the only one that leads, the first after a write that gives it a place."""
        await asyncio.sleep(1)
        self.stream.write("a", None, event("before", "1"))
        self.replicas.append(Replica(self))
        await asyncio.sleep(3)
        first, second = self.replicas
        assert (first.leads, second.leads) == (True, False)
        moves = self.cache.take()
        # It does not know what was written before it; two moves, at once and when it has begun.
        assert (moves[:2], sorted(moves[2:])) == (["table"] * 2, touching("before"))
        return first

    async def after(self, seconds: float) -> list[str]:
        """Let time pass and return what was moved in it."""
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
async def test_when_the_leader_dies_the_next_goes_on_where_it_stopped() -> None:
    """Within the lease and a moment, and no write between them is lost, nor the table moved."""
    async with elected() as fleet:
        leader = await fleet.led()
        await leader.die()
        fleet.stream.write("a", None, event("between", "1"))
        moves = await fleet.after(LEASE_SECONDS + 2)
        assert set(moves) == set(touching("between")) | (set(moves) & set(touching("before")))
        assert fleet.replicas[1].leads
        fleet.stream.write("a", None, event("after", "1"))
        assert await fleet.after(2) == touching("after")


@warped
async def test_a_defect_ends_no_candidate() -> None:
    """Whoever meets it stops following, and stands for election again."""
    async with elected() as fleet:
        leader = await fleet.led()
        fleet.leases.error = RuntimeError("a bug")
        await asyncio.sleep(LEASE_SECONDS)
        assert not any(replica.leads for replica in fleet.replicas)
        assert leader.candidate.failures == 0
        fleet.leases.error = None
        await asyncio.sleep(LEASE_SECONDS + 2)
        assert [replica.leads for replica in fleet.replicas].count(True) == 1


@warped
async def test_a_defect_holds_no_candidate_back_that_is_to_stop() -> None:
    """Its last word to the others fails, and that is all."""
    async with elected() as fleet:
        leader = await fleet.led()
        fleet.leases.error = RuntimeError("a bug")
        async with asyncio.timeout(1):
            await leader.stop()


@warped
async def test_a_leader_that_stops_hands_over_at_once() -> None:
    """Long before its lease would have ended, and exactly where it stopped."""
    async with elected() as fleet:
        leader = await fleet.led()
        await leader.stop()
        fleet.stream.write("a", None, event("between", "1"))
        assert await fleet.after(2.5) == touching("between")
        assert fleet.replicas[1].leads


@warped
async def test_shards_that_split_are_gone_on_with() -> None:
    """Those that ended stay so, and children are read from their first record."""
    async with elected() as fleet:
        leader = await fleet.led()
        fleet.stream.split("a", "b", "c")
        fleet.stream.write("b", None, event("b", "1"))
        assert await fleet.after(4) == touching("b")
        fleet.stream.split("b", "d", listed=False)
        fleet.stream.write("d", None, event("d", "1"))
        await asyncio.sleep(2)
        await leader.die()
        fleet.stream.write("c", None, event("c", "1"))
        await asyncio.sleep(LEASE_SECONDS)
        fleet.stream.shards_of_all["d"].listed = True
        moves = await fleet.after(14)
        assert set(touching("c")) | set(touching("d")) <= set(moves)
        assert moves.count("table") <= 1  # the child was not to be found for too long


@warped
async def test_whoever_cannot_renew_its_lease_stops_following() -> None:
    """When the lease ends; another has taken over by then or does so at once."""
    async with elected() as fleet:
        leader = await fleet.led()
        leader.leases.is_cut = True
        await asyncio.sleep(LEASE_SECONDS + 0.1)
        assert not leader.leads
        assert leader.candidate.failures >= 2
        assert fleet.replicas[1].candidate.failures == 0
        await asyncio.sleep(2)
        assert fleet.replicas[1].leads
        leader.leases.is_cut = False
        fleet.cache.take()
        fleet.stream.write("a", None, event("after", "1"))
        assert await fleet.after(10) == touching("after")
        assert not leader.leads


@warped
async def test_without_a_checkpoint_the_whole_table_is_moved() -> None:
    """Lost, too old, of a stream that is another one by now, or trimmed."""
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
                    await asyncio.sleep(PACE.max_lag)
                    fleet.replicas[1].leases.is_cut = False
                case "other":
                    fleet.table = streamed("arn:aws:dynamodb:eu-west-1:1:table/t/stream/2")
                case _:
                    fleet.stream.trim("a")
            moves = await fleet.after(LEASE_SECONDS + 4)
            assert set(moves) == {"table"}, case
            fleet.stream.write("a", None, event("after", "1"))
            assert await fleet.after(2) == touching("after"), case


@warped
async def test_a_leader_without_a_place_leaves_none() -> None:
    """Where a shard has had no record, "the latest" names no place: the next moves the table."""
    async with elected() as fleet:
        await asyncio.sleep(4)
        assert await fleet.after(0) == ["table"] * 2
        await fleet.replicas[0].die()
        fleet.stream.write("a", None, event("between", "1"))
        fleet.replicas.append(Replica(fleet))
        assert set(await fleet.after(LEASE_SECONDS + 4)) == {"table"}


@warped
async def test_a_lease_that_another_has_is_noticed_at_the_next_renewal() -> None:
    """Redis may lose a lease and give it to another: the first stops, long before its own time."""
    async with elected() as fleet:
        leader = await fleet.led()
        fleet.leases.end()
        await asyncio.sleep(LEASE_SECONDS / 3 + 0.1)
        assert [replica.leads for replica in fleet.replicas].count(True) == 1
        assert leader.leads is not fleet.replicas[1].leads


@warped
async def test_the_next_is_as_far_behind_as_the_last_one_was() -> None:
    """A stream that cannot be read since it died has its table moved in time, not a lease later."""
    async with elected() as fleet:
        leader = await fleet.led()
        await leader.die()
        fleet.stream.fault = lambda *_: BackendUnavailable("down")
        fleet.stream.write("a", None, event("between", "1"))
        assert await fleet.after(LEASE_SECONDS + 1) == []
        assert fleet.replicas[1].leads
        assert await fleet.after(PACE.max_lag - LEASE_SECONDS + 1) == ["table"]
