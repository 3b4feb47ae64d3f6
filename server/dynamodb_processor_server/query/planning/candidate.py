"""Paths that can serve a query, and which of them is the cheapest."""

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
# Paths that are queried compete with no scan, so only these differ by their operation.
_FINDINGS: Final = {
    Operation.NOTHING: "shows that nothing can match",
    Operation.GET: "gets the one item that can match",
}
# For each further part of the cost, and for equal costs.
_REASONS: Final = (
    "narrows more",
    "narrows as much in fewer partitions",
    "narrows as much and holds all that is asked for",
    "narrows as much, and the table is preferred to indexes, local ones to global ones",
    "narrows as much and comes first by name",
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A path that can serve the query, and the key condition it is read with.

    `fetches` says that the path does not hold what is asked for, so that every item is read in the
    table besides: by DynamoDB for a local index, by hydration for a global one.
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
        """Smaller is cheaper, the first difference decides: `advantage` says each in words.

        An item that is fetched costs half a read unit at least, which pays for many in a range. A
        range that narrows less may hold any number of items that are read in vain.
        """
        return (
            _OPERATION_COST[self.operation],
            -self.key.narrowing,
            len(self.key.branches),
            self.fetches,
            _KIND_COST[self.path.kind],
        )

    def advantage(self, other: Candidate) -> str:
        """Return in what this path is cheaper than another: the first difference of their costs."""
        differences = [mine != its for mine, its in zip(self.cost, other.cost, strict=True)]
        first = [*differences, True].index(True)
        return f"{self.path.label} {_REASONS[first - 1] if first else _FINDINGS[self.operation]}"
