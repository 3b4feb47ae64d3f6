"""Tests of a deadline that several calls share."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dynamodb_processor_client import DeadlineExceeded
from dynamodb_processor_client.deadlines import Deadline
from tests.unit.client.fake_time import FakeTime


async def test_each_call_gets_the_remaining_time(time: FakeTime) -> None:
    """After the deadline there is no call; the error contains the progress."""
    deadline = Deadline(10.0, time.read)
    limits: list[float | None] = []

    async def call(seconds: float | None) -> None:
        limits.append(seconds)
        await time.sleep(4.0)

    for _ in range(3):
        await deadline.call(call, "nothing is lost")
    with pytest.raises(DeadlineExceeded) as raised:
        await deadline.call(call, "nothing is lost")
    assert limits == [10.0, 6.0, 2.0]
    assert raised.value.message == "the deadline passed; nothing is lost"
    assert deadline.elapsed == timedelta(seconds=12)


async def test_the_error_of_a_late_call_contains_the_progress(time: FakeTime) -> None:
    """The error contains the progress, and its cause is the error of the call."""

    async def call(seconds: float | None) -> None:
        raise DeadlineExceeded("Deadline Exceeded")

    with pytest.raises(DeadlineExceeded, match="passed; 5 done") as raised:
        await Deadline(10.0, time.read).call(call, "5 done")
    assert isinstance(raised.value.__cause__, DeadlineExceeded)


async def test_without_a_deadline_there_is_always_time(time: FakeTime) -> None:
    """Without a deadline a call gets no limit, after any time."""
    deadline = Deadline(None, time.read)
    await time.sleep(1e9)
    assert deadline.remaining(1e9, "") is None


async def test_a_pause_must_fit(time: FakeTime) -> None:
    """A pause is refused unless time remains after it."""
    deadline = Deadline(10.0, time.read)
    assert deadline.remaining(9.0, "") == 10.0
    with pytest.raises(DeadlineExceeded, match="the deadline passed"):
        deadline.remaining(10.0, "")
