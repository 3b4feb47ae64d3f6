"""What following a table's stream has amounted to, for the metrics."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from dynamodb_processor_server.change_streams.records import StreamRecord

#: Upper bounds, in seconds, of the classes in which the ages of records are counted.
AGE_BOUNDS: Final = (0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0)


@dataclass(slots=True)
class ConsumerStats:
    """Counts since the follower began.

    `ages` counts the records by age when their pages had been invalidated, by `AGE_BOUNDS` and one
    class beyond; `age_sum` is in seconds. `table_invalidations` counts, by reason, how often the
    whole table was invalidated. `failures` are requests to the stream that failed.
    """

    ages: list[int] = field(default_factory=lambda: [0] * (len(AGE_BOUNDS) + 1))
    age_sum: float = 0.0
    table_invalidations: Counter[str] = field(default_factory=Counter)
    failures: int = 0

    def count(self, records: Iterable[StreamRecord]) -> None:
        """Count records that have been dealt with."""
        for record in records:
            self.ages[bisect_left(AGE_BOUNDS, record.age)] += 1
            self.age_sum += record.age
