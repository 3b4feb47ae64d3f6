"""The scenario of load, with a caller that keeps to its rate class."""

from __future__ import annotations

import statistics
from asyncio import Semaphore
from dataclasses import dataclass
from typing import Final

from dynamodb_processor_client import CacheStatus, QueryError, ResourceExhausted
from dynamodb_processor_server.acceptance.caching import HITS, check_cached
from dynamodb_processor_server.acceptance.scenario import Deployment, NotRun, Scenario, expect
from dynamodb_processor_server.runtime.concurrency import gather_or_cancel

_DIFFERENT_CALLS: Final = 10


@dataclass
class _PacedCaller:
    """Makes calls, and none of them while the service asks the caller to wait.

    A refusal for the caller's own rate class is no failure of the deployment. It is counted apart,
    and the call is made again after the time that the refusal gives, as clients should do.
    """

    deployment: Deployment
    waits_until: float
    refusals: int = 0
    _resumes_at: float = 0.0

    async def call(self, page_size: int) -> tuple[float, CacheStatus | None]:
        """Return the latency of an answered call and its cache status, None for a failed call.

        Raises NotRun if the rate class asks for a longer wait than there is time.
        """
        deployment = self.deployment
        while True:
            while (pause := self._resumes_at - deployment.clock()) > 0:
                await deployment.sleep(pause)
            began = deployment.clock()
            try:
                page = await deployment.client.query(deployment.query, page_size=page_size)
            except QueryError as error:
                if not self._is_paced_by(error):
                    return deployment.clock() - began, None
            else:
                return deployment.clock() - began, page.cache.status

    def _is_paced_by(self, error: QueryError) -> bool:
        """Return whether an error asks the caller alone to wait; if so, no call is made before."""
        wait = error.retry_after
        is_own = isinstance(error, ResourceExhausted) and error.reason == "RATE_LIMITED"
        if not is_own or wait is None:
            return False
        self.refusals += 1
        self._resumes_at = max(self._resumes_at, self.deployment.clock() + wait)
        if self._resumes_at > self.waits_until:
            bound = self.deployment.load.patience
            raise NotRun(
                f"the rate class of the key in DDBQ_API_KEY needs more than {bound:g} s for "
                "the calls: give the key a higher class, or set fewer --calls"
            )
        return True


async def _loaded(deployment: Deployment) -> str:
    check_cached(deployment)
    load = deployment.load
    gate = Semaphore(load.concurrency)
    caller = _PacedCaller(deployment, deployment.clock() + load.patience)

    async def call(number: int) -> tuple[float, CacheStatus | None]:
        async with gate:
            return await caller.call(1 + number % _DIFFERENT_CALLS)

    await gather_or_cancel(call(number) for number in range(_DIFFERENT_CALLS))  # fills the cache
    answers = await gather_or_cancel(call(number) for number in range(load.calls))
    slow = statistics.quantiles([seconds for seconds, _ in answers], n=20)[-1]
    failed = sum(status is None for _, status in answers) / load.calls
    hits = sum(status in HITS for _, status in answers) / load.calls
    expect(failed < load.failed, f"{failed:.1%} of the calls fail")
    expect(hits > load.hits, f"only {hits:.1%} of the calls are hits")
    expect(slow < load.seconds, f"the 95th percentile is {slow * 1e3:.0f} ms")
    refused = f", {caller.refusals} refusals by the rate class" if caller.refusals else ""
    return (
        f"{load.calls} calls, {load.concurrency} at once: p95 {slow * 1e3:.0f} ms, "
        f"{failed:.1%} failed, {hits:.1%} hits{refused}"
    )


SCENARIOS: Final = (
    Scenario("load", "A hundred callers at once get fast answers, from the cache.", _loaded),
)
