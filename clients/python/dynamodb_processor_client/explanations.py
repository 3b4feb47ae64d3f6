"""The explanation of a query: its plan."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from dynamodb_processor.v1.query_service_pb2 import ExplainQueryResponse


class AccessPath(enum.Enum):
    """The access path: how the items are read."""

    UNKNOWN = 0
    """A path that this client does not know."""
    GET = 1
    """One item of the table, by its full primary key."""
    TABLE = 2
    """One or more partitions of the table."""
    LOCAL_INDEX = 3
    """One or more partitions of a local secondary index."""
    GLOBAL_INDEX = 4
    """One or more partitions of a global secondary index."""
    SCAN = 5
    """Every item of the table or the index."""
    NOTHING = 6
    """No read: the condition contradicts itself."""

    @classmethod
    def _missing_(cls, value: object) -> AccessPath:
        return cls.UNKNOWN


@dataclass(frozen=True, slots=True)
class RejectedPath:
    """A path that was not chosen: the index, `"@table"` for the base table, and the reason."""

    index: str
    reason: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """The plan of a query. The conditions are expressions, empty for no condition.

    Attributes:
        path: The access path.
        index: The index; `None` for the base table, and for an index whose key is not granted.
        key_condition: The key condition of the request to DynamoDB.
        filter_expression: The filter that DynamoDB applies after it has read and charged.
        local_filter: The filter that the service applies to DynamoDB's results.
        branches: The number of partitions that are read and merged.
        rejected: The paths that were not chosen.
        warnings: The parts of the query that may cost more than expected.
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
        """Return the explanation in a response."""
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
