"""The identity of a table, which tells it from an earlier table of the same name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class TableIdentity:
    """The values that identify a table in DynamoDB.

    Attributes:
        name: Its name in DynamoDB.
        endpoint: The URL of the endpoint that it is read from.
        region: The region that requests are signed for.
        arn: Its ARN, with partition, region and account; empty where DescribeTable has none.
        incarnation: Its `TableId`, which changes when a table is deleted and created again. Where
            DescribeTable has none, the time of its creation; empty without that as well.
    """

    CANONICAL_TAGS: ClassVar = (
        "table_identity",
        {"name": 1, "endpoint": 2, "region": 3, "arn": 4, "incarnation": 5},
    )

    name: str = ""
    endpoint: str = ""
    region: str = ""
    arn: str = ""
    incarnation: str = ""

    @property
    def location(self) -> tuple[str, ...]:
        """The identity without `incarnation`: equal for all tables with this place and name."""
        return (self.endpoint, self.region, self.arn, self.name)


def identity_of(description: Mapping[str, Any], endpoint: str, region: str) -> TableIdentity:
    """Return the identity of the table in a DescribeTable result, given its `Table` field."""
    created = description.get("CreationDateTime", "")
    if isinstance(created, datetime):
        created = created.timestamp()
    return TableIdentity(
        name=str(description["TableName"]),
        endpoint=endpoint.lower().rstrip("/"),
        region=region,
        arn=str(description.get("TableArn") or ""),
        incarnation=str(description.get("TableId") or created),
    )
