"""Publishing to CloudWatch goes on after every failure, and never holds its caller up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest
import structlog

from dynamodb_processor_server.telemetry.cloudwatch.publisher import NotSent, Publisher
from dynamodb_processor_server.telemetry.cloudwatch.sampler import Datum
from tests.support.lengths import PATIENCE

_DATUM = Datum("CallsTotal", "Count", (("Deployment", "d"),), (1.0,))


class Sink:
    """Takes data, or fails with the next of some errors."""

    def __init__(self, *errors: Exception | None) -> None:
        self.errors = list(errors)
        self.taken: list[Datum] = []

    async def send(self, data: Sequence[Datum]) -> None:
        """Take data."""
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error
        self.taken += data


async def rounds(publisher: Publisher, number: int) -> list[tuple[str, str]]:
    """Publish some times, and return the events of the log with their reasons."""
    with structlog.testing.capture_logs() as lines:
        for _ in range(number):
            await publisher.publish()
    return [(line["event"], line.get("reason", "")) for line in lines]


async def test_data_that_cannot_be_sent_is_dropped_and_counted() -> None:
    """The first failure is logged, and the first success after it."""
    sink = Sink(NotSent("no credentials"), NotSent("no credentials"))
    publisher = Publisher(lambda: [_DATUM, _DATUM], sink.send, 60.0, PATIENCE)
    assert await rounds(publisher, 4) == [
        ("cloudwatch_not_reached", "no credentials"),
        ("cloudwatch_reached", ""),
    ]
    assert publisher.dropped == 4
    assert len(sink.taken) == 4


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("Invalid endpoint: http://u:secret@x"), "failed with ValueError"),
        (RuntimeError("Session is closed"), "failed with RuntimeError"),
    ],
)
async def test_an_error_of_another_kind_is_a_failure_as_well(error: Exception, reason: str) -> None:
    """Neither the next metrics nor a shutdown depend on its type; the log has no more of it."""
    sink = Sink(error)
    publisher = Publisher(lambda: [_DATUM], sink.send, 60.0, PATIENCE)
    assert await rounds(publisher, 2) == [
        ("cloudwatch_not_reached", reason),
        ("cloudwatch_reached", ""),
    ]
    assert publisher.dropped == 1


async def test_a_sample_that_fails_is_a_failure() -> None:
    """Metrics are read from objects that the event loop changes meanwhile."""
    outcomes = iter([False, True])

    def sample() -> list[Datum]:
        if not next(outcomes):
            raise RuntimeError("dictionary changed size during iteration")
        return [_DATUM]

    sink = Sink()
    publisher = Publisher(sample, sink.send, 60.0, PATIENCE)
    reason = "failed with RuntimeError"
    assert await rounds(publisher, 2) == [
        ("cloudwatch_not_reached", reason),
        ("cloudwatch_reached", ""),
    ]
    assert sink.taken == [_DATUM]


async def test_a_sample_that_hangs_ends_in_time() -> None:
    """There may be no free thread for it, which must not hold a shutdown up."""
    go_on = threading.Event()

    def sample() -> list[Datum]:
        go_on.wait(PATIENCE)
        return [_DATUM]

    sink = Sink()
    publisher = Publisher(sample, sink.send, 60.0, 0.05)
    try:
        assert await rounds(publisher, 1) == [("cloudwatch_not_reached", "no answer in 0.05 s")]
    finally:
        go_on.set()
    assert sink.taken == []


async def test_a_sink_that_hangs_ends_in_time() -> None:
    """A shorter bound may be given, as at the end of the server."""

    async def hang(data: Sequence[Datum]) -> None:
        await asyncio.Event().wait()

    publisher = Publisher(lambda: [_DATUM], hang, 60.0, PATIENCE)
    with structlog.testing.capture_logs() as lines:
        await publisher.publish(0.05)
    assert [line["reason"] for line in lines] == ["no answer in 0.05 s"]
    assert publisher.dropped == 1


async def test_it_publishes_after_each_interval() -> None:
    """It ends when its task is cancelled."""
    pauses: list[float] = []
    is_fourth = asyncio.Event()

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 4:
            is_fourth.set()
            await asyncio.Event().wait()

    sink = Sink(ValueError())
    publisher = Publisher(lambda: [_DATUM], sink.send, 60.0, PATIENCE, sleep)
    running = asyncio.create_task(publisher.run())
    async with asyncio.timeout(PATIENCE):
        await is_fourth.wait()
    running.cancel()
    await asyncio.wait((running,))
    assert pauses == [60.0] * 4
    assert len(sink.taken) == 2
