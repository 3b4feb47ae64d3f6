"""What a principal may read: tables, and of a table some attributes and some items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final

from dynamodb_processor_server.query.expression import canonical
from dynamodb_processor_server.query.planning.row_rule import RowRule

_WILDCARDS: Final = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Grant:
    """Leave to read the tables of a name or pattern.

    Attributes:
        table: A logical name, or an `fnmatch` pattern over them, case-sensitive.
        attributes: The attributes that may be named and seen; None means all that the table shows.
        rule: The condition that items must meet; None means all items.
        version: Equal for grants of the same attributes and rule, in every process; empty where
            neither restricts anything.
    """

    table: str
    attributes: frozenset[str] | None = None
    rule: RowRule | None = None
    version: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        limits = (self.attributes, self.rule)
        version = b"" if limits == (None, None) else canonical.digest(limits)
        object.__setattr__(self, "version", version)

    @property
    def is_pattern(self) -> bool:
        """Whether `table` may match several names."""
        return not _WILDCARDS.isdisjoint(self.table)

    def covers(self, table: str) -> bool:
        """Return whether the table of that logical name is meant, existing or not."""
        return fnmatchcase(table, self.table) if self.is_pattern else table == self.table


def grant_for(table: str, grants: Sequence[Grant]) -> Grant | None:
    """Return the one grant that counts for a table, None if there is none.

    The table's own name counts before patterns, and of several patterns the first that is listed.
    Grants are never put together: what one withholds, another does not give back.
    """
    found = [grant for grant in grants if grant.covers(table)]
    return next((grant for grant in found if not grant.is_pattern), found[0] if found else None)


def shadowed_by(grants: Sequence[Grant], place: int) -> int | None:
    """Return the place of an earlier pattern because of which a later one never counts, or None.

    Only where the two differ in what they give: then the order is certainly a mistake, and likely
    one that gives more than was meant.
    """
    later = grants[place]
    if not later.is_pattern or "[" in later.table:
        return None
    # A character that no name has: only a wildcard can match it.
    samples = [later.table.replace("?", "~").replace("*", "~" * n) for n in range(3)]
    for earlier, grant in enumerate(grants[:place]):
        if grant.is_pattern and grant.version != later.version and all(map(grant.covers, samples)):
            return earlier
    return None
