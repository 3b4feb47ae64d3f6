"""Callers that call repeatedly at a pace, and probes of a server's health meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support.lengths import PATIENCE


@dataclass
class CallOutcomes:
    """The outcome of calls: latencies in seconds of answers and refusals; other failures."""

    answered: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    failed: list[grpc.StatusCode] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def calls(self) -> int:
        """The number of calls."""
        return len(self.answered) + len(self.refused) + len(self.failed)

    @property
    def goodput(self) -> float:
        """Answers per second."""
        return len(self.answered) / self.seconds

    @property
    def error_rate(self) -> float:
        """The ratio of calls without an answer."""
        return 1 - len(self.answered) / self.calls if self.calls else 1.0


def percentile(values: list[float], share: float) -> float:
    """Return the value that this share of the values does not exceed; 0 if there are none."""
    return sorted(values)[int((len(values) - 1) * share)] if values else 0.0


async def call_at_pace(
    call: Callable[[], Awaitable[Any]], callers: int, seconds: float, per_second: float | None
) -> CallOutcomes:
    """Let callers make one call after the other for a while.

    Args:
        call: makes one.
        callers: how many there are.
        seconds: for how long they begin calls.
        per_second: calls that all of them begin in a second, if they are answered in time to; as
            many as they can if None.
    """
    outcomes = CallOutcomes()
    began = time.monotonic()
    interval = callers / per_second if per_second else 0.0

    async def repeat(number: int) -> None:
        due = began + interval * number / callers
        while True:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if time.monotonic() >= began + seconds:
                return
            await _one(call, outcomes)
            due = max(due + interval, time.monotonic())

    await asyncio.gather(*(repeat(number) for number in range(callers)))
    outcomes.seconds = time.monotonic() - began
    return outcomes


async def _one(call: Callable[[], Awaitable[Any]], outcomes: CallOutcomes) -> None:
    began = time.monotonic()
    try:
        await call()
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
            outcomes.refused.append(time.monotonic() - began)
        else:
            outcomes.failed.append(error.code())
    else:
        outcomes.answered.append(time.monotonic() - began)


async def probe(address: str, seconds: list[float], every: float = 0.2) -> None:
    """Ask for a server's readiness until cancelled, each time on a connection of its own.

    Fails unless it is SERVING.
    """
    while True:
        began = time.monotonic()
        async with grpc.aio.insecure_channel(
            address, options=[("grpc.use_local_subchannel_pool", 1)]
        ) as channel:
            health: Any = health_pb2_grpc.HealthStub(channel)
            answer = await health.Check(
                health_pb2.HealthCheckRequest(service="readiness"), timeout=PATIENCE
            )
        seconds.append(time.monotonic() - began)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        await asyncio.sleep(every)


async def ended(task: asyncio.Task[None]) -> None:
    """Cancel an endless task; raise its exception if it has failed."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
