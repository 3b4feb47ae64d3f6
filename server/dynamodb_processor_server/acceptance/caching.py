"""Scenarios of the cache and of invalidation."""

from __future__ import annotations

from typing import Final

from dynamodb_processor_client import CacheStatus, Page
from dynamodb_processor_server.acceptance.scenario import (
    Deployment,
    NotRun,
    Scenario,
    Unmet,
    expect,
)

#: The statuses of pages that a cache answers.
HITS: Final = (CacheStatus.HIT, CacheStatus.SHARED_HIT, CacheStatus.STALE)
# Calls until each of several replicas behind a balancer has the page.
_ATTEMPTS: Final = 20


async def _cached(deployment: Deployment) -> str:
    check_cached(deployment)
    page = await _first_hit(deployment)
    expect(page.stats.read_units == 0, f"a hit costs {page.stats.read_units} read units")
    return f"{page.cache.status.name}, {page.cache.age.total_seconds():.1f} s old, 0 read units"


async def _invalidated(deployment: Deployment) -> str:
    check_cached(deployment)
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


def check_cached(deployment: Deployment) -> None:
    """Raise NotRun if no page of the table is cached."""
    if not deployment.table.cache_ttl:
        raise NotRun("the catalog caches no pages of the table")


async def _first_hit(deployment: Deployment) -> Page:
    """Return the first of some equal calls that a cache answers; raises Unmet."""
    statuses = set()
    for _ in range(_ATTEMPTS):
        page = await deployment.client.query(deployment.query, page_size=2)
        if page.cache.status in HITS:
            return page
        statuses.add(page.cache.status.name)
    raise Unmet(f"{_ATTEMPTS} equal calls have the cache status {' or '.join(sorted(statuses))}")


SCENARIOS: Final = (
    Scenario("cache", "A repeated call is answered from the cache, for no read units.", _cached),
    Scenario("invalidation", "No page from before an invalidation is served.", _invalidated),
)
