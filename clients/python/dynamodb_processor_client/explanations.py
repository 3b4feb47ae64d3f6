"""How the service would read a query."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from dynamodb_processor.v1.query_service_pb2 import ExplainQueryResponse


class AccessPath(enum.Enum):
    """How items are reached."""

    UNKNOWN = 0
    """A way that this client does not know."""
    GET = 1
    """One item of the table, by its full primary key."""
    TABLE = 2
    """One or more partitions of the table."""
    LOCAL_INDEX = 3
    """One or more partitions of a local secondary index."""
    GLOBAL_INDEX = 4
    """One or more partitions of a global secondary index."""
    SCAN = 5
    """Everything in the table or the index."""
    NOTHING = 6
    """Nothing: the condition contradicts itself."""

    @classmethod
    def _missing_(cls, value: object) -> AccessPath:
        return cls.UNKNOWN


@dataclass(frozen=True, slots=True)
class RejectedPath:
    """A way that was not taken: the index, `"@table"` for the base table, and why not."""

    index: str
    reason: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a query would be read. Conditions are written as expressions, empty for none.

    Attributes:
        path: How the items are reached.
        index: The index; `None` for the base table.
        key_condition: What DynamoDB is told of the key.
        filter_expression: What DynamoDB filters by, after reading and charging.
        local_filter: What the service filters by, after DynamoDB.
        branches: How many partitions are read and merged.
        rejected: The ways that were not taken.
        warnings: What may cost more than it seems.
    """

    path: AccessPath
    index: str | None
    key_condition: str
    filter_expression: str
    local_filter: str
    branches: int
    rejected: tuple[RejectedPath, ...]
    warnings: tuple[str, ...]

    @classmethod
    def from_message(cls, message: ExplainQueryResponse) -> Explanation:
        """Return what the message says."""
        return cls(
            path=AccessPath(message.path),
            index=message.index or None,
            key_condition=message.key_condition,
            filter_expression=message.filter_expression,
            local_filter=message.local_filter,
            branches=message.branches,
            rejected=tuple(RejectedPath(one.index, one.reason) for one in message.rejected),
            warnings=tuple(message.warnings),
        )
