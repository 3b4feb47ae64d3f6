"""Counts values by size, as plain integers that another thread may read."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Final, Self

#: Upper bounds, in seconds, of the durations of calls and requests. 0.5 is the objective for p99.
DURATION_BOUNDS: Final = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip


class Histogram:
    """The number of values in each bucket, and their sum.

    `bounds` are the upper bounds of the buckets, ascending; one more bucket holds larger values.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float] = DURATION_BOUNDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def cumulative(self) -> list[int]:
        """Return how many values are at most as large as each bound, and how many there are."""
        return list(accumulate(self.counts))

    @classmethod
    def merged(cls, histograms: Iterable[Self]) -> Self:
        """Return the counts of several histograms, of which there is one at least, together."""
        first, *others = histograms
        merged = cls(first.bounds)
        for one in (first, *others):
            merged.counts = [a + b for a, b in zip(merged.counts, one.counts, strict=True)]
            merged.sum += one.sum
        return merged
