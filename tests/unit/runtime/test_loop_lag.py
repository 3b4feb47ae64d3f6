"""Tests of the measurement of the event loop's lag, and of its histogram."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from dynamodb_processor_server.runtime.histogram import Histogram
from dynamodb_processor_server.runtime.loop_lag import LoopLag


async def test_the_lag_is_the_delay_beyond_the_timer() -> None:
    """A timer that runs in time counts as no lag, and a late one by its delay."""
    now = 100.0
    late: Iterator[float] = iter((0.0, 0.3, -0.001, 7.0))

    async def sleep(seconds: float) -> None:
        nonlocal now
        delay = next(late, None)
        if delay is None:
            raise asyncio.CancelledError
        now += seconds + delay

    lag = LoopLag(lambda: now, sleep)
    with pytest.raises(asyncio.CancelledError):
        await lag.watch()
    at_most = dict(zip((*lag.seconds.bounds, None), lag.seconds.cumulative(), strict=True))
    assert (at_most[0.001], at_most[0.25], at_most[0.5], at_most[None]) == (2, 2, 3, 4)
    assert lag.seconds.sum == pytest.approx(7.3)


def test_a_value_counts_in_the_bucket_whose_bound_it_equals() -> None:
    """Bounds are inclusive, as Prometheus defines `le`."""
    histogram = Histogram((1.0, 2.0))
    for value in (1.0, 1.5, 2.0, 2.5):
        histogram.observe(value)
    assert histogram.cumulative() == [1, 3, 4]
    assert histogram.sum == 7.0


def test_histograms_add_up() -> None:
    """The sum has the counts of all, and changes none of them."""
    one, other = Histogram((1.0,)), Histogram((1.0,))
    one.observe(0.5)
    other.observe(3.0)
    merged = Histogram.merged([one, other])
    assert (merged.cumulative(), merged.sum) == ([1, 2], 3.5)
    assert one.cumulative() == [1, 1]
