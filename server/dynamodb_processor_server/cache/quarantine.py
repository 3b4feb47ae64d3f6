"""The time after an invalidation in which eventually consistent reads are not cached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dynamodb_processor_server.catalog.schema import PathKind
from dynamodb_processor_server.query.planning.plan import Plan


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Seconds after an invalidation in which eventually consistent reads are not stored.

    Such a read may still return the value from before the write. `index` is for global indexes,
    which follow their table with a delay.
    """

    table: float = 2.0
    index: float = 10.0

    def of(self, plan: Plan) -> float:
        """Return the seconds for a plan's reads: none for consistent ones."""
        if plan.consistent:
            return 0.0
        return self.index if plan.path.kind is PathKind.GLOBAL else self.table

    @property
    def longest(self) -> float:
        """The seconds after which every read may be stored."""
        return max(self.table, self.index)


DEFAULT_QUARANTINE: Final = Quarantine()
