"""Logs the calls that no grant allows, while grants only warn."""

from __future__ import annotations

from collections import Counter

import structlog

from dynamodb_processor_server.rpc.call_context import Call
from dynamodb_processor_server.rpc.interceptors.call_hook import CallHook
from dynamodb_processor_server.rpc.interceptors.unauthenticated import HEALTH, REFLECTION

_log = structlog.get_logger(__name__)


class GrantWarnings(CallHook):
    """Logs and counts each call that is let through although no grant of its caller allows it.

    `warnings` counts them by table, a name of the catalog.
    """

    def __init__(self, warnings: Counter[str]) -> None:
        self._warnings = warnings

    def applies_to(self, method: str) -> bool:
        """Return True for methods whose callers are always authenticated."""
        return not method.startswith((HEALTH, REFLECTION))

    def on_start(self, call: Call) -> None:
        """Do nothing: the table of a call is known later."""

    def on_end(self, call: Call) -> None:
        """Log the call if only a grant that warns covers its table."""
        access = call.access
        if access is None:
            return
        # Callers with equal rights share the access, so its own grant may be another caller's.
        grant = call.caller.grant(access.table.name)
        if grant is not None and grant.warn_only:
            self._warnings[access.table.name] += 1
            _log.warning(
                "table_not_granted",
                request_id=call.request_id,
                method=call.method,
                principal=call.caller.name,
                key_id=call.caller.key_id,
                table=access.table.name,
            )
