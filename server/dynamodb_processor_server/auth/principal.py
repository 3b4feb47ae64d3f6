"""Who calls, and what they may read."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

from dynamodb_processor_server.auth.grants import Grant, grant_for

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
        grants: What it may read; of several that cover a table, see `grant_for`.
        rate_class: The name of the rate limits that hold for it.
        expires: When the API key expires, in seconds since the epoch.
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
        """Return what of the table of that logical name is granted; None if nothing is."""
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
