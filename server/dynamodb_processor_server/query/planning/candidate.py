"""Candidates: access paths that can serve a query, compared by their cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dynamodb_processor_server.catalog.schema import AccessPath, PathKind
from dynamodb_processor_server.query.planning.key_condition import KeyCondition
from dynamodb_processor_server.query.planning.plan import Operation

_OPERATION_COST: Final = {
    Operation.NOTHING: 0,
    Operation.GET: 1,
    Operation.QUERY: 2,
    Operation.SCAN: 3,
}
_KIND_COST: Final = {PathKind.TABLE: 0, PathKind.LOCAL: 1, PathKind.GLOBAL: 2}
# A query never competes with a scan, so candidates differ by these operations only.
_OPERATION_REASONS: Final = {
    Operation.NOTHING: "shows that nothing can match",
    Operation.GET: "gets the one item that can match",
}
# One reason for each further part of the cost, and one for equal costs.
_COST_REASONS: Final = (
    "narrows more",
    "narrows as much in fewer partitions",
    "narrows as much and holds all that is asked for",
    "narrows as much, and the table is preferred to indexes, local ones to global ones",
    "narrows as much and comes first by name",
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A path that can serve the query, with the key condition for reading it.

    `fetches` means that the path lacks requested attributes, so that every item is also read from
    the table: by DynamoDB for a local index, by hydration for a global one.
    """

    path: AccessPath
    operation: Operation
    key: KeyCondition
    fetches: bool

    @property
    def hydrates(self) -> bool:
        """Whether the service has to get the items from the table."""
        reads = self.operation in (Operation.QUERY, Operation.SCAN)
        return self.fetches and reads and self.path.kind is PathKind.GLOBAL

    @property
    def cost(self) -> tuple[int, int, int, bool, int]:
        """The cost; smaller is cheaper, and the first difference decides. See `advantage`.

        A fetched item costs half a read unit or more, which pays for many items of a range. But a
        wider range may hold any number of items that are read for nothing.
        """
        return (
            _OPERATION_COST[self.operation],
            -self.key.selectivity,
            len(self.key.branches),
            self.fetches,
            _KIND_COST[self.path.kind],
        )

    def advantage(self, other: Candidate, *, is_named: bool) -> str:
        """Return why this path is cheaper than another: the first difference of their costs.

        `is_named` says that the caller may see the name of this path.
        """
        differences = [mine != its for mine, its in zip(self.cost, other.cost, strict=True)]
        first = [*differences, True].index(True)
        reason = _COST_REASONS[first - 1] if first else _OPERATION_REASONS[self.operation]
        return f"{self.path.label if is_named else 'another path'} {reason}"
