"""Principals: authenticated callers with their roles and grants."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

from dynamodb_processor_server.auth.grants import Grant, grant_for

# Callers choose the names. A name too long for a catalog is granted to nobody, and at most this
# many decisions are cached.
_MAX_NAME_LENGTH: Final = 255
_MAX_DECISIONS: Final = 128


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller.

    Attributes:
        key_id: The id of the caller's entry in the keys file; for logs.
        name: The principal's name. Page tokens are bound to it, and it may have several keys.
        roles: The kinds of methods that it may call: "reader", "admin".
        grants: The tables that it may read; `grant_for` chooses among several for a table.
        rate_class: The name of the rate limits that apply to it.
        expires: The time when the credential expires, in seconds since the epoch.
    """

    key_id: str
    name: str
    roles: frozenset[str]
    grants: tuple[Grant, ...]
    rate_class: str
    expires: float = math.inf
    _decisions: dict[str, Grant | None] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    def grant(self, table: str) -> Grant | None:
        """Return the grant that applies to the table of that logical name, or None."""
        try:
            return self._decisions[table]
        except KeyError:
            return self._decide(table)

    def may_read(self, table: str) -> bool:
        """Return whether the table of that logical name is granted, existing or not."""
        return self.grant(table) is not None

    def has_role(self, role: str) -> bool:
        """Return whether the role is granted."""
        return role in self.roles

    def _decide(self, table: str) -> Grant | None:
        if not 0 < len(table) <= _MAX_NAME_LENGTH:
            return None
        if len(self._decisions) >= _MAX_DECISIONS:
            self._decisions.clear()
        decision = self._decisions[table] = grant_for(table, self.grants)
        return decision
