"""The shared Redis cluster fails in every way, and no answer is wrong, late or refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Final

import pytest
import pytest_asyncio

from tests.faults.proxy import Weather, open_proxy
from tests.faults.redis_faults import (
    WEATHERS,
    Case,
    Replicas,
    crowd,
    open_replicas,
    spoil,
    survive,
)
from tests.support.lengths import FULL, at_length
from tests.support.redis_topologies import PREFIX, ClusterGroup, ask, wait_for

_FAILOVER: Final = at_length(2.0, 5.0)  # Seconds of load.
_SEEDS: Final = at_length(1, 2)


def _ready(group: ClusterGroup) -> None:
    """Wait until a failover is possible."""
    wait_for(group.has_replica, "the owner of the keys has a replica")


def _revive(group: ClusterGroup) -> None:
    """Start every node that does not run."""
    for server in group.servers:
        server.resume_or_start()


def _hang_for_a_while(group: ClusterGroup) -> None:
    hung = group.owner
    hung.pause()
    wait_for(lambda: group.owner is not hung, "the replica has taken over")
    hung.resume()


def _reshard(group: ClusterGroup) -> None:
    group.reshard(group.other())


def _reshard_back(group: ClusterGroup) -> None:
    group.reshard(group.replicated)


def _fail_over(group: ClusterGroup) -> None:
    ask(group.replica, "CLUSTER", "FAILOVER")


_SHORT: Final = (
    Case(
        "killed",
        lambda group: group.owner.kill(),
        _revive,
        _ready,
        refuses=True,
        seconds=_FAILOVER,
    ),
)
_LONG: Final = (
    Case("moved", _reshard, _reshard_back, _ready),
    Case(
        "hung",
        lambda group: group.owner.pause(),
        _revive,
        _ready,
        refuses=True,
        seconds=_FAILOVER,
    ),
    Case("hung for a while", _hang_for_a_while, prepare=_ready, refuses=True, seconds=_FAILOVER),
    Case("failed over by hand", _fail_over, prepare=_ready, seconds=_FAILOVER),
    Case(
        "without another node",
        lambda group: group.other().kill(),
        _revive,
        _ready,
        seconds=_FAILOVER,
    ),
    Case("without any node", ClusterGroup.kill, _revive, refuses=True),
    *WEATHERS,
    Case("out of reach", weather=Weather.REFUSE, refuses=True),
    Case("flushed", lambda group: ask(group.owner, "FLUSHALL")),
    Case("keys spoilt", lambda group: spoil(group.owner)),
    Case(
        "evicting",
        lambda group: crowd(group.owner),
        lambda group: ask(group.owner, "CONFIG", "SET", "maxmemory", 0),
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
    """Two servers that share a cluster, whose nodes announce proxies, the same for each fault."""
    group = ClusterGroup(redis_binary, tmp_path_factory.mktemp("cluster"))
    async with AsyncExitStack() as stack:
        ways = []
        for server in group.servers:
            way = await stack.enter_async_context(open_proxy("127.0.0.1", server.port))
            server.public_port = way.port
            ways.append(way)
        stack.callback(group.kill)
        await asyncio.to_thread(group.start)
        opened = open_replicas(
            tmp_path_factory.mktemp,
            dynamodb_local,
            table,
            group,
            ways,
            (group.url, group.url),
            redis_prefix=PREFIX,
        )
        yield await stack.enter_async_context(opened)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("seed", range(_SEEDS))
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_fault_of_a_cluster_is_survived(
    case: Case,
    seed: int,
    replicas: Replicas,
    write: Callable[[str, int], None],
    report: Callable[[str, str, str], None],
) -> None:
    """No read is wrong, late or refused; then pages and invalidations are shared again."""
    await survive(case, seed, "Cluster", replicas, write, report)
