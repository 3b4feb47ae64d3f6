"""Reads ARNs of tables, by which requests reach tables of other accounts.

Source: `TableName` in DynamoDB's API reference, which takes the name or the ARN of a table.
"""

from __future__ import annotations

import re
from typing import Final

#: The pattern of a table's ARN. Its region is the first group, the table's name the second.
TABLE_ARN: Final = (
    r"arn:aws[a-z-]*:dynamodb:([a-z0-9-]{1,63}):[0-9]{12}:table/([A-Za-z0-9_.-]{3,255})"
)
_COMPILED: Final = re.compile(TABLE_ARN)


def region_of(table: str) -> str | None:
    """Return the region in a table's ARN; None for a name."""
    found = _COMPILED.fullmatch(table)
    return None if found is None else found[1]


def name_of(table: str) -> str:
    """Return the table's name, given its name or its ARN."""
    found = _COMPILED.fullmatch(table)
    return table if found is None else found[2]
