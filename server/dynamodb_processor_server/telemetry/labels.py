"""Bounds on the values of labels, so that the number of exported series has a bound."""

from __future__ import annotations

from typing import Final

#: The value of a label for all values beyond its bound. No table of DynamoDB can have this name.
OTHER: Final = "@other"
MAX_TABLES: Final = 500
MAX_PRINCIPALS: Final = 500


class LabelValues:
    """The values of one label: the first ones up to a bound, and `OTHER` for all later ones.

    Values are kept until the process ends, so a series never changes its meaning. Safe in several
    threads, which at worst let a few values more pass.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()

    def of(self, value: str) -> str:
        """Return the label's value for a name; an empty one stays empty."""
        if not value or value in self._known:
            return value
        if len(self._known) >= self._most:
            return OTHER
        self._known.add(value)
        return value


class Labels:
    """The labels of a server whose values come from files, from tokens or from DynamoDB.

    Attributes:
        tables: Logical names of tables. Patterns of the catalog may discover many.
        principals: Names of principals. Tokens may name any number of them.
    """

    def __init__(self, max_tables: int = MAX_TABLES, max_principals: int = MAX_PRINCIPALS) -> None:
        self.tables = LabelValues(max_tables)
        self.principals = LabelValues(max_principals)
