"""Who calls, and what they may read."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final

# Names come from callers. Longer ones than a catalog can hold are granted to nobody, and no more
# decisions than this are remembered.
_MAX_NAME_LENGTH: Final = 255
_MAX_DECISIONS: Final = 1_024


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller.

    Attributes:
        key_id: The id of the API key that was shown; for logs.
        name: Who it is. Tokens are bound to it, and it may have several keys.
        roles: What kinds of methods it may call: "reader", "admin".
        tables: The granted tables: logical names and `fnmatch` patterns, case-sensitive.
        rate_class: The name of the rate limits that hold for it.
        grant_version: Equal for equal grants, in every process; differs when roles or tables do.
    """

    key_id: str
    name: str
    roles: frozenset[str]
    tables: tuple[str, ...]
    rate_class: str
    grant_version: str = field(init=False)
    _decisions: dict[str, bool] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "grant_version", _grant_version(self.roles, self.tables))

    def may_read(self, table: str) -> bool:
        """Return whether the table of that logical name is granted, existing or not."""
        decision = self._decisions.get(table)
        return self._decide(table) if decision is None else decision

    def has_role(self, role: str) -> bool:
        """Return whether the role is granted."""
        return role in self.roles

    def _decide(self, table: str) -> bool:
        if not 0 < len(table) <= _MAX_NAME_LENGTH:
            return False
        if len(self._decisions) >= _MAX_DECISIONS:
            self._decisions.clear()
        decision = any(fnmatchcase(table, pattern) for pattern in self.tables)
        self._decisions[table] = decision
        return decision


def _grant_version(roles: frozenset[str], tables: tuple[str, ...]) -> str:
    grant = {"format": 1, "roles": sorted(roles), "tables": sorted(set(tables))}
    encoded = json.dumps(grant, sort_keys=True, separators=(",", ":")).encode()
    return hashlib.sha256(encoded).hexdigest()[:32]
