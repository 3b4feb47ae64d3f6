"""Replicas restarted one after another under a steady load: the client's callers see no failure."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dynamodb_processor_client import CacheMode, CachePolicy, Query, QueryClient, QueryError
from tests.support.event_service import CATALOG, ENVIRONMENT, KEYS, READER
from tests.support.events import LONG, LONG_ITEMS, USERS
from tests.support.lengths import PATIENCE, at_length
from tests.support.processes import ServerProcess, free_address, served

# The short form is slow, as other tests run beside it.
RESTARTS: Final = at_length(3, 50)
CALLS_PER_SECOND: Final = at_length(40, 200)
AT_ONCE: Final = at_length(20, 1_000)  # More calls would wait longer than their deadlines.
# An operator that rolls out a version would wait as long for a restart.
CALLS_BEFORE_NEXT: Final = 20
_DRAIN: Final = {
    "DYNAMODB_PROCESSOR_DRAIN_DELAY": "0.5",
    "DYNAMODB_PROCESSOR_DRAIN_GRACE": "10",
}


@dataclass(slots=True)
class _Load:
    """Calls begun at a steady rate, while not too many earlier ones are under way."""

    client: QueryClient
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    done: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    is_over: bool = False

    async def run(self) -> None:
        """Make calls until the test ends, one in a hundred a stream of 5,000 items."""
        began = time.perf_counter()
        async with asyncio.TaskGroup() as calls:
            for number in itertools.count():
                if self.is_over:
                    return
                await self.slots.acquire()
                call = self._stream() if number % 100 == 0 else self._query(number)
                calls.create_task(call).add_done_callback(lambda _: self.slots.release())
                due = began + (number + 1) / CALLS_PER_SECOND
                await asyncio.sleep(max(0.0, due - time.perf_counter()))

    async def _query(self, number: int) -> None:
        # One in ten reads DynamoDB.
        cache = CachePolicy(CacheMode.BYPASS) if number % 10 == 0 else None
        user = USERS[number % len(USERS)]
        try:
            page = await self.client.query(Query("events", "user_id = :u", u=user), cache=cache)
        except QueryError as error:
            self.failed.append(f"query: {error!r}")
        else:
            assert len(page.items) == 40
            self.done["calls"] += 1

    async def _stream(self) -> None:
        try:
            items = self.client.stream(Query("events", "user_id = :u", u=LONG), page_size=500)
            numbers = [int(item["seq"]) async for item in items]
        except QueryError as error:
            self.failed.append(f"stream: {error!r}")
        else:
            assert numbers == list(range(LONG_ITEMS))
            self.done["streams"] += 1


@dataclass(slots=True)
class _Replica:
    """One replica of the fleet: always the same port, each time another process."""

    directory: Path
    endpoint_url: str
    address: str = field(default_factory=free_address)
    _life: ExitStack = field(default_factory=ExitStack)
    server: ServerProcess | None = None

    def start(self) -> None:
        """Start a process; return when it reports readiness."""
        self.server = self._life.enter_context(
            served(
                CATALOG,
                KEYS,
                self.directory,
                endpoint_url=self.endpoint_url,
                args=["--listen", self.address],
                env=ENVIRONMENT | _DRAIN,
            )
        )

    def stop(self) -> int | None:
        """End the process; return its exit code."""
        self._life.close()
        return self.server.returncode if self.server else None

    def await_calls(self, number: int) -> None:
        """Return when the process has logged so many calls."""
        assert self.server is not None
        deadline = time.monotonic() + PATIENCE
        while sum(record["event"] == "call" for record in self.server.records) < number:
            assert time.monotonic() < deadline, "no calls come here any more"
            time.sleep(0.05)


async def test_no_call_fails(
    events: str, tmp_path: Path, report: Callable[[str, str, str], None]
) -> None:
    """Unary calls are retried elsewhere, streams resume, and every process exits cleanly."""
    fleet = [_Replica(tmp_path / name, events) for name in ("one", "two")]
    codes = []
    target = "ipv4:" + ",".join(replica.address for replica in fleet)
    try:
        for replica in fleet:
            replica.directory.mkdir()
            await asyncio.to_thread(replica.start)
        async with QueryClient(target, api_key=READER.text) as client, asyncio.TaskGroup() as tasks:
            load = _Load(client)
            tasks.create_task(load.run())
            for number in range(RESTARTS):
                replica = fleet[number % len(fleet)]
                codes.append(await asyncio.to_thread(replica.stop))
                await asyncio.to_thread(replica.start)
                await asyncio.to_thread(replica.await_calls, CALLS_BEFORE_NEXT)
            load.is_over = True
    finally:
        codes.extend(replica.stop() for replica in fleet)
    report(
        f"{RESTARTS} rolling restarts of two replicas",
        f"0 failed at {CALLS_PER_SECOND} calls/s",
        f"{load.done['calls']} calls and {load.done['streams']} streams, {len(load.failed)} failed",
    )
    assert load.failed == []
    assert set(codes) == {0}
    assert load.done["streams"] > 0
