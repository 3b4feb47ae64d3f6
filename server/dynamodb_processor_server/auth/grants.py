"""Grants: the tables that a principal may read, and the attributes and items of each."""

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
    """The right to read the tables with a name, or with names that match a pattern.

    Attributes:
        table: A logical name, or a case-sensitive `fnmatch` pattern for logical names.
        attributes: The attributes that may be named and seen; None means all that the table shows.
        rule: The condition that items must meet; None means all items.
        warn_only: Whether it stands for grants that are missing, which are only to be logged.
        bound: Whether the rule has values of the caller, so that it may fit some callers only.
        version: A digest that is equal for grants with equal attributes and rule, in every process;
            empty if the grant restricts neither.
    """

    table: str
    attributes: frozenset[str] | None = None
    rule: RowRule | None = None
    warn_only: bool = False
    bound: bool = field(default=False, repr=False, compare=False)
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
        """Return whether the grant is for the table of that logical name, existing or not."""
        return fnmatchcase(table, self.table) if self.is_pattern else table == self.table


#: The last grant of every principal while grants only warn: it covers what no other one does.
WARN_ONLY: Final = Grant("*", warn_only=True)


def grant_for(table: str, grants: Sequence[Grant]) -> Grant | None:
    """Return the one grant that applies to a table, None if there is none.

    A grant of the table's own name applies before patterns, and the first matching pattern before
    later ones. Grants are never combined: another grant does not add to the one that applies.
    """
    found = [grant for grant in grants if grant.covers(table)]
    return next((grant for grant in found if not grant.is_pattern), found[0] if found else None)


def shadowed_by(grants: Sequence[Grant], index: int) -> int | None:
    """Return the index of an earlier pattern that keeps a later one from ever applying, or None.

    Patterns that give the same are ignored. If the two differ, the order is certainly an error, and
    probably one that gives more than intended.
    """
    later = grants[index]
    if not later.is_pattern or "[" in later.table:
        return None
    # No name contains this character, so only a wildcard can match it.
    samples = [later.table.replace("?", "~").replace("*", "~" * n) for n in range(3)]
    for earlier, grant in enumerate(grants[:index]):
        if grant.is_pattern and grant.version != later.version and all(map(grant.covers, samples)):
            return earlier
    return None
