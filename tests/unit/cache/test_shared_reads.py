"""The caching Reader: concurrent misses share one read, and who does not want to does not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dynamodb_processor_server.errors import (
    BackendUnavailable,
    DeadlineExceeded,
    Overloaded,
)
from dynamodb_processor_server.reader import (
    CachePolicy,
    CacheStatus,
)
from tests.support.warped_time import warped
from tests.unit.cache.world import BYPASS, REFRESH, TTL, World


@warped
async def test_concurrent_misses_share_one_read() -> None:
    """One has the cost of it, the others say that they shared, and it is stored once for all."""
    world = World()
    world.seconds = 1.0
    pages = await asyncio.gather(*(world.get() for _ in range(100)))
    assert world.reads == 1
    statuses = [page.status for page in pages]
    assert statuses.count(CacheStatus.MISS) == 1
    assert statuses.count(CacheStatus.COALESCED) == 99
    assert sum(page.usage.items_scanned for page in pages) == 10
    assert len({id(page.content) for page in pages}) == 1
    assert all(page.expires_in == TTL for page in pages)
    assert (await world.get()).status is CacheStatus.HIT


@pytest.mark.parametrize(
    "limits",
    [
        {"cache": BYPASS},
        {"cache": REFRESH},
        {"max_scanned_items": 50},
        {"cache": CachePolicy(max_staleness=0.4)},
    ],
)
@warped
async def test_who_wants_a_read_of_their_own_does_not_join(limits: dict[str, Any]) -> None:
    """BYPASS, REFRESH, budgets, and those for whom the read began too long ago."""
    world = World()
    world.seconds = 1.0
    first = asyncio.create_task(world.get())
    await asyncio.sleep(0.5)
    page = await world.get(**limits)
    assert page.status is not CacheStatus.COALESCED
    assert world.reads == 2
    assert (await first).status is CacheStatus.MISS


@warped
async def test_a_callers_deadline_is_its_own() -> None:
    """It does not bound the read, which others wait for and which is stored."""
    world = World()
    world.seconds = 5.0
    hasty = asyncio.create_task(world.get(seconds=1.0))
    await asyncio.sleep(0)
    patient = asyncio.create_task(world.get())
    with pytest.raises(DeadlineExceeded):
        await hasty
    assert (await patient).status is CacheStatus.COALESCED
    assert (await world.get()).status is CacheStatus.HIT
    assert world.reads == 1


@warped
async def test_a_hung_read_does_not_hang_its_callers() -> None:
    """It has a bound of its own, which is nobody's deadline: the table answers too slowly."""
    world = World(read_timeout=20.0)
    world.seconds = 1e6
    loop = asyncio.get_running_loop()
    began = loop.time()
    results = await asyncio.gather(
        *(world.get(seconds=600.0) for _ in range(3)), return_exceptions=True
    )
    assert all(isinstance(result, BackendUnavailable) for result in results)
    assert loop.time() - began == pytest.approx(20.0)
    world.seconds = 0.0
    assert (await world.get()).status is CacheStatus.MISS


@warped
async def test_who_joined_a_read_that_was_refused_a_place_asks_once_more() -> None:
    """The turn was the first caller's, and so is the refusal; the others share another read."""
    world = World()
    world.seconds = 1.0
    world.error = Overloaded("no place", 1.0)
    first = asyncio.create_task(world.get())
    await asyncio.sleep(0.5)
    others = [asyncio.create_task(world.get()) for _ in range(5)]
    with pytest.raises(Overloaded):
        await first
    world.error = None
    pages = await asyncio.gather(*others)
    assert world.reads == 2
    assert sorted(page.status.name for page in pages) == ["COALESCED"] * 4 + ["MISS"]


@warped
async def test_a_place_refused_twice_is_a_refusal() -> None:
    """Nobody asks without end."""
    world = World()
    world.seconds = 0.5
    world.error = Overloaded("no place", 1.0)
    outcomes = await asyncio.gather(*(world.get() for _ in range(5)), return_exceptions=True)
    assert all(isinstance(outcome, Overloaded) for outcome in outcomes)
    assert world.reads == 2
