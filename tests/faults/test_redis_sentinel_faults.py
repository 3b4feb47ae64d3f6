"""The shared Redis behind Sentinels fails over, and no answer is wrong, late or refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Final

import pytest
import pytest_asyncio

from tests.faults.redis_faults import Case, Replicas, crowd, open_replicas, spoil, survive
from tests.support.lengths import FULL, at_length
from tests.support.redis_topologies import SERVICE, SentinelGroup, ask, wait_for

_FAILOVER: Final = at_length(2.0, 6.0)  # Seconds of load.
_SEEDS: Final = at_length(1, 2)


def _ready(group: SentinelGroup) -> None:
    """Wait until a failover is possible."""
    wait_for(group.is_complete, "every Sentinel knows a replica that is up to date")


def _revive(group: SentinelGroup) -> None:
    """Start every server and Sentinel that does not run."""
    for server in (*group.servers, *group.sentinels):
        server.resume_or_start()


def _hang_for_a_while(group: SentinelGroup) -> None:
    hung = group.primary
    hung.pause()
    wait_for(lambda: group.primary is not hung, "the replica has taken over")
    hung.resume()


def _fail_over(group: SentinelGroup) -> None:
    ask(group.sentinels[0], "SENTINEL", "FAILOVER", SERVICE)


def _kill_sentinels(group: SentinelGroup) -> None:
    for sentinel in group.sentinels:
        sentinel.kill()


_SHORT: Final = (
    Case(
        "killed",
        lambda group: group.primary.kill(),
        _revive,
        _ready,
        refuses=True,
        seconds=_FAILOVER,
    ),
)
_LONG: Final = (
    Case(
        "hung",
        lambda group: group.primary.pause(),
        _revive,
        _ready,
        refuses=True,
        seconds=_FAILOVER,
    ),
    Case("hung for a while", _hang_for_a_while, prepare=_ready, refuses=True, seconds=_FAILOVER),
    Case("failed over by hand", _fail_over, prepare=_ready, seconds=_FAILOVER),
    Case("without one Sentinel", lambda group: group.sentinels[0].kill(), _revive),
    Case("with a hung Sentinel", lambda group: group.sentinels[1].pause(), _revive),
    Case("without Sentinels", _kill_sentinels, _revive, refuses=True),
    Case("without its replica", lambda group: group.replica.kill(), _revive, _ready),
    Case("flushed", lambda group: ask(group.primary, "FLUSHALL")),
    Case("keys spoilt", lambda group: spoil(group.primary)),
    Case(
        "evicting",
        lambda group: crowd(group.primary),
        lambda group: ask(group.primary, "CONFIG", "SET", "maxmemory", 0),
    ),
)
CASES: Final = (*_SHORT, *_LONG) if FULL else _SHORT


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def replicas(
    tmp_path_factory: pytest.TempPathFactory,
    dynamodb_local: str,
    table: str,
    redis_binary: str,
) -> AsyncIterator[Replicas]:
    """Two servers that share a Redis behind Sentinels, the same for each fault."""
    group = SentinelGroup(redis_binary, tmp_path_factory.mktemp("sentinels"))
    async with AsyncExitStack() as stack:
        stack.callback(group.kill)
        await asyncio.to_thread(group.start)
        opened = open_replicas(
            tmp_path_factory.mktemp, dynamodb_local, table, group, (), (group.url, group.url)
        )
        yield await stack.enter_async_context(opened)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("seed", range(_SEEDS))
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_fault_behind_sentinels_is_survived(
    case: Case,
    seed: int,
    replicas: Replicas,
    write: Callable[[str, int], None],
    report: Callable[[str, str, str], None],
) -> None:
    """No read is wrong, late or refused; then pages and invalidations are shared again."""
    await survive(case, seed, "Sentinel", replicas, write, report)
