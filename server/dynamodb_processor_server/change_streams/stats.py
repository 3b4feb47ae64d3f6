"""Counters of one table's stream consumption, for the metrics."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from dynamodb_processor_server.change_streams.records import StreamRecord

#: Upper bounds, in seconds, of the histogram of record ages.
AGE_BOUNDS: Final = (0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0)


@dataclass(slots=True)
class ConsumerStats:
    """Counts since the consumer started.

    Attributes:
        ages: Numbers of records by their age when their pages had been invalidated, one number for
            each of `AGE_BOUNDS` and one for larger ages.
        age_sum: The sum of the ages, in seconds.
        table_invalidations: How often the whole table was invalidated, by reason.
        failures: The number of failed requests to the stream.
    """

    ages: list[int] = field(default_factory=lambda: [0] * (len(AGE_BOUNDS) + 1))
    age_sum: float = 0.0
    table_invalidations: Counter[str] = field(default_factory=Counter)
    failures: int = 0

    def count(self, records: Iterable[StreamRecord]) -> None:
        """Count records that have been processed."""
        for record in records:
            self.ages[bisect_left(AGE_BOUNDS, record.age)] += 1
            self.age_sum += record.age
