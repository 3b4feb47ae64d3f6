"""DynamoDB is gone for a minute under load: the right alerts fire and clear, and only those.

The rules are those of deploy/prometheus, in a real Prometheus. Their windows and waits reach from
minutes to days, so time runs `_FACTOR` times faster for Prometheus: every duration of the rules,
the time for which a sample counts, and the interval of scrapes are so many times shorter.
Thresholds are as they are. A minute of outage then weighs as two hours do in production. Prometheus
knows no time before the run, so the windows of days are as long as the run.

A window of five minutes has a hundred calls here, and ten timers of the event loop: one that a busy
machine delays is their 99th percentile. So the two alerts on percentiles may fire for a moment.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import grpc
import pytest

from dynamodb_processor.v1.query_pb2 import CachePolicy
from dynamodb_processor.v1.query_service_pb2 import QueryRequest, QueryResponse
from dynamodb_processor.v1.query_service_pb2_grpc import QueryServiceStub
from tests.faults.load import BYPASS, EVENTS, USERS, Outcome, measure
from tests.faults.proxy import Proxy, Weather, open_proxy
from tests.support.event_service import ENVIRONMENT, KEYS, READER
from tests.support.lengths import PATIENCE
from tests.support.processes import serving
from tests.support.prometheus import Prometheus, run_prometheus
from tests.support.running import eventually, numbers, query_spec

_FACTOR: Final = 120
_SCRAPE_SECONDS: Final = 0.5  # a minute
_SETTLING: Final = 10.0  # seconds in which the first calls of a process may be slow
_BEFORE: Final = 15.0
_OUTAGE: Final = 60.0
_MOST_AFTER: Final = 270.0  # the longest window is six hours: 180 s
_CALLERS: Final = 5
_PAUSE: Final = 0.1  # seconds between one caller's calls
_UNCACHED: Final = 0.1  # part of the calls
_EXPECTED: Final = frozenset(
    {"BreakerOpen", "ErrorBudgetBurnFast", "ErrorBudgetBurnSlow", "HighErrorRatio"}
)
_PERCENTILES: Final = frozenset({"EventLoopLag", "HighLatency"})
_MOMENT: Final = 10.0  # seconds


class Timeline:
    """The alerts that fire, as Prometheus reports them every half second.

    `seen` are the seconds for which each alert fired, at most without a break.
    """

    def __init__(self, prometheus: Prometheus) -> None:
        self._prometheus = prometheus
        self._began = time.monotonic()
        self._since: dict[str, float] = {}
        self.seen: dict[str, float] = {}
        self.lines: list[str] = []

    @property
    def firing(self) -> set[str]:
        """The alerts that fire now."""
        return set(self._since)

    @property
    def unexpected(self) -> set[str]:
        """The alerts that should not have fired, or not for so long."""
        others = self.seen.keys() - _EXPECTED
        return {name for name in others if name not in _PERCENTILES or self.seen[name] > _MOMENT}

    def note(self, event: str) -> None:
        """Write a line with the time."""
        self.lines.append(f"{time.monotonic() - self._began:6.1f} s  {event}")

    async def watch(self) -> None:
        """Follow the alerts until it is cancelled."""
        while True:
            names = await asyncio.to_thread(self._prometheus.firing)
            now = {name.removeprefix("DynamoDBProcessor") for name in names}
            for name in sorted(now - self.firing):
                self.note(f"{name} fires")
                self._since[name] = time.monotonic()
            for name in now:
                seconds = time.monotonic() - self._since[name]
                self.seen[name] = max(seconds, self.seen.get(name, 0.0))
            for name in sorted(self.firing - now):
                self.note(f"{name} clears")
                del self._since[name]
            await asyncio.sleep(_SCRAPE_SECONDS)


class Calls:
    """Queries of one user's events; nine of ten may be answered from the cache."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._queries = QueryServiceStub(channel)
        self.outcome = Outcome()

    async def page(self, user: str, policy: CachePolicy | None = None) -> QueryResponse:
        """Return the page of a user's events."""
        spec = query_spec("events", "user_id = :user", parameters={"user": user})
        request = QueryRequest(query=spec, cache=policy)
        key = (("x-api-key", READER.text),)
        return await self._queries.Query(request, metadata=key, timeout=PATIENCE)

    async def make(self) -> None:
        """Make calls until it is cancelled."""
        chosen = random.Random(11)

        async def caller() -> None:
            while True:
                policy = BYPASS if chosen.random() < _UNCACHED else None
                await measure(self.outcome, self.page(chosen.choice(USERS), policy), _is_right)
                await asyncio.sleep(_PAUSE)

        async with asyncio.TaskGroup() as group:
            for _ in range(_CALLERS):
                group.create_task(caller())


def _is_right(page: QueryResponse) -> bool:
    return numbers(page.items, "seq") == EVENTS


async def _scenario(proxy: Proxy, calls: Calls, timeline: Timeline) -> None:
    """Let DynamoDB be gone for a minute, and wait until no alert fires."""
    load = asyncio.create_task(calls.make())
    await asyncio.sleep(_SETTLING)
    watch = asyncio.create_task(timeline.watch())
    try:
        await asyncio.sleep(_BEFORE)
        assert not timeline.seen.keys() - _PERCENTILES, timeline.lines
        timeline.note("DynamoDB is gone")
        await proxy.set_weather(Weather.REFUSE)
        await asyncio.sleep(_OUTAGE)
        timeline.note("DynamoDB is back")
        await proxy.set_weather(Weather.FAIR)
        await eventually(lambda: not timeline.firing, patience=_MOST_AFTER)
        timeline.note("no alert fires")
    finally:
        for task in (load, watch):
            task.cancel()
        await asyncio.wait((load, watch))


@asynccontextmanager
async def _prometheus(directory: Path, target: str) -> AsyncIterator[Prometheus]:
    life = run_prometheus(directory, target, interval=_SCRAPE_SECONDS, factor=_FACTOR)
    prometheus = await asyncio.to_thread(life.__enter__)
    try:
        await asyncio.to_thread(prometheus.wait_until, "dynamodb_processor_ready == 1")
        yield prometheus
    finally:
        await asyncio.to_thread(life.__exit__, None, None, None)


@pytest.mark.measures
async def test_an_outage_of_dynamodb_raises_the_right_alerts(
    tmp_path: Path,
    dynamodb_local: str,
    table: str,
    report: Callable[[str, str, str], None],
    show_line: Callable[[str], None],
) -> None:
    """The breaker, the error ratio and both speeds of spending fire and clear; nothing else does.

    Cached pages are served meanwhile, so only the other calls fail.
    """
    catalog: dict[str, Any] = {"tables": {"events": {"table": table, "cache_ttl": 3_600}}}
    host, _, port = dynamodb_local.removeprefix("http://").partition(":")
    async with (
        open_proxy(host, int(port)) as proxy,
        serving(
            catalog, KEYS, tmp_path, endpoint_url=f"http://127.0.0.1:{proxy.port}", env=ENVIRONMENT
        ) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        calls = Calls(channel)
        for user in USERS:
            await calls.page(user)
        async with _prometheus(tmp_path, server.metrics_address) as prometheus:
            timeline = Timeline(prometheus)
            await _scenario(proxy, calls, timeline)
    outcome = calls.outcome
    show_line("\n".join([f"timeline; 1 s stands for {_FACTOR} s of the rules:", *timeline.lines]))
    report(
        "DynamoDB gone for a minute",
        f"fire and clear: {', '.join(sorted(_EXPECTED))}; no other alert",
        f"{', '.join(sorted(timeline.seen))}; {outcome.right} right, "
        f"{len(outcome.refusals)} refused",
    )
    assert timeline.seen.keys() >= _EXPECTED, timeline.lines
    assert not timeline.unexpected, timeline.lines
    assert not outcome.wrong
    assert outcome.codes.keys() == {"UNAVAILABLE"}
