"""Finds the tables that a principal may read among thousands of names, and caches them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cachetools import LRUCache

from dynamodb_processor_server.auth.principal import Principal

_MAX_KEYS: Final = 100  # API keys for which the names are cached, 80 KB for each 10,000 names


class GrantedNames:
    """Caches the names of the catalog that each API key grants, while both are the same.

    Matching thousands of names with a key's patterns takes up to 0.2 s, too long for every page.
    """

    def __init__(self) -> None:
        self._known: LRUCache[str, tuple[Sequence[str], Principal, Sequence[str]]]
        self._known = LRUCache(_MAX_KEYS)

    def of(self, caller: Principal, names: Sequence[str]) -> Sequence[str]:
        """Return those of `names` that the caller may read; `names` must not be changed later."""
        known = self._known.get(caller.key_id)
        if known is not None and known[0] is names and known[1] is caller:
            return known[2]
        granted = [name for name in names if caller.may_read(name)]
        self._known[caller.key_id] = names, caller, granted
        return granted
