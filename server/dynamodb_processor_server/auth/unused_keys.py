"""Finds keys that grant no table of the catalog, because a name is mistyped or was removed."""

from __future__ import annotations

import structlog

from dynamodb_processor_server.auth.api_keys import KeyRing
from dynamodb_processor_server.auth.grants import Grant
from dynamodb_processor_server.catalog.config import CatalogConfig

_log = structlog.get_logger(__name__)


def keys_without_tables(ring: KeyRing, catalog: CatalogConfig) -> list[str]:
    """Return the ids of keys that grant no table of a catalog, in order.

    Two patterns are not compared: if the catalog discovers tables, a key with a pattern is assumed
    to grant one.
    """
    return [
        principal.key_id
        for principal in ring.principals
        if not any(
            _grants_a_table(grant, catalog) for grant in principal.grants if not grant.warn_only
        )
    ]


def log_keys_without_tables(ring: KeyRing, catalog: CatalogConfig) -> None:
    """Log a warning for each key that grants no table of a catalog."""
    for key_id in keys_without_tables(ring, catalog):
        _log.warning("key_grants_no_table", key_id=key_id)


def _grants_a_table(grant: Grant, catalog: CatalogConfig) -> bool:
    if grant.is_pattern:
        return bool(catalog.discover) or any(map(grant.covers, catalog.tables))
    return catalog.config_for(grant.table) is not None
