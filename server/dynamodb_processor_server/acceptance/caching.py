"""Scenarios of the cache, of invalidation and of load."""

from __future__ import annotations

import asyncio
import statistics
from typing import Final

from dynamodb_processor_client import CacheStatus, Page, QueryError
from dynamodb_processor_server.acceptance.scenario import (
    Deployment,
    NotRun,
    Scenario,
    Unmet,
    expect,
)

_HITS: Final = (CacheStatus.HIT, CacheStatus.SHARED_HIT, CacheStatus.STALE)
# Calls until each of several replicas behind a balancer has the page.
_ATTEMPTS: Final = 20
_DIFFERENT_CALLS: Final = 10


async def _cached(deployment: Deployment) -> str:
    _check_cached(deployment)
    page = await _first_hit(deployment)
    expect(page.stats.read_units == 0, f"a hit costs {page.stats.read_units} read units")
    return f"{page.cache.status.name}, {page.cache.age.total_seconds():.1f} s old, 0 read units"


async def _invalidated(deployment: Deployment) -> str:
    _check_cached(deployment)
    if deployment.admin_key is None:
        raise NotRun("set DDBQ_ADMIN_KEY to a key with the role admin")
    before = await _first_hit(deployment)
    async with deployment.connect(deployment.admin_key) as admin:
        await admin.invalidate(deployment.table.name)
    after = await deployment.client.query(deployment.query, page_size=2)
    expect(
        after.read_time is not None
        and before.read_time is not None
        and after.read_time > before.read_time,
        "a page from before the invalidation is served after it",
    )
    return f"{before.cache.status.name} before, {after.cache.status.name} after"


async def _loaded(deployment: Deployment) -> str:
    _check_cached(deployment)
    load = deployment.load
    gate = asyncio.Semaphore(load.concurrency)

    async def call(number: int) -> tuple[float, CacheStatus | None]:
        async with gate:
            began = deployment.clock()
            size = 1 + number % _DIFFERENT_CALLS
            try:
                page = await deployment.client.query(deployment.query, page_size=size)
            except QueryError:
                return deployment.clock() - began, None
            return deployment.clock() - began, page.cache.status

    await asyncio.gather(*(call(number) for number in range(_DIFFERENT_CALLS)))  # fills the cache
    answers = await asyncio.gather(*(call(number) for number in range(load.calls)))
    slow = statistics.quantiles([seconds for seconds, _ in answers], n=20)[-1]
    failed = sum(status is None for _, status in answers) / load.calls
    hits = sum(status in _HITS for _, status in answers) / load.calls
    expect(failed < load.failed, f"{failed:.1%} of the calls fail")
    expect(hits > load.hits, f"only {hits:.1%} of the calls are hits")
    expect(slow < load.seconds, f"the 95th percentile is {slow * 1e3:.0f} ms")
    return (
        f"{load.calls} calls, {load.concurrency} at once: p95 {slow * 1e3:.0f} ms, "
        f"{failed:.1%} failed, {hits:.1%} hits"
    )


def _check_cached(deployment: Deployment) -> None:
    if not deployment.table.cache_ttl:
        raise NotRun("the catalog caches no pages of the table")


async def _first_hit(deployment: Deployment) -> Page:
    """Return the first of some equal calls that a cache answers; raises Unmet."""
    statuses = set()
    for _ in range(_ATTEMPTS):
        page = await deployment.client.query(deployment.query, page_size=2)
        if page.cache.status in _HITS:
            return page
        statuses.add(page.cache.status.name)
    raise Unmet(f"{_ATTEMPTS} equal calls have the cache status {' or '.join(sorted(statuses))}")


SCENARIOS: Final = (
    Scenario("cache", "A repeated call is answered from the cache, for no read units.", _cached),
    Scenario("invalidation", "No page from before an invalidation is served.", _invalidated),
    Scenario("load", "A hundred callers at once get fast answers, from the cache.", _loaded),
)
