"""The time after an invalidation in which eventually consistent reads are not cached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dynamodb_processor_server.query.planning.plan import Plan


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Seconds after an invalidation in which eventually consistent reads are not stored.

    Such a read may still return the value from before the write. `index` is for global indexes,
    which follow their table with a delay.
    """

    table: float = 2.0
    index: float = 10.0

    @property
    def by_lag(self) -> tuple[float, float, float]:
        """The seconds for reads of each `ReadLag`: none for consistent ones."""
        return 0.0, self.table, self.index

    def of(self, plan: Plan) -> float:
        """Return the seconds for a plan's reads."""
        return self.by_lag[plan.lag]

    @property
    def longest(self) -> float:
        """The seconds after which every read may be stored."""
        return max(self.table, self.index)


DEFAULT_QUARANTINE: Final = Quarantine()
