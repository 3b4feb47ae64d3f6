"""Logs every call of a method that needs the role `admin`, refused attempts too."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from dynamodb_processor_server.rpc.call_context import Call
from dynamodb_processor_server.rpc.interceptors.call_hook import CallHook
from dynamodb_processor_server.telemetry.audit import AUDIT, get_audit_log

_MAX_TABLE: Final = 255  # characters of a table's name, which a caller may have invented


class AuditLog(CallHook):
    """Writes one line for each call of some services, with "audit" as its logger.

    It runs before authentication, so that it sees refused attempts. Then nobody is the principal,
    and the arguments are not known: the request of a refused caller is not received.
    """

    def __init__(self, services: Collection[str]) -> None:
        """Create the hook for services, by their full names."""
        self._prefixes = tuple(f"/{service}/" for service in services)
        self._log = get_audit_log()

    def applies_to(self, method: str) -> bool:
        """Return True for the methods of the services."""
        return method.startswith(self._prefixes)

    def on_start(self, call: Call) -> None:
        """Do nothing: the outcome is known at the end."""

    def on_end(self, call: Call) -> None:
        """Log the caller, the method, its arguments and the outcome, without keys of items."""
        principal = call.principal
        self._log.info(
            "admin_call",
            logger=AUDIT,
            request_id=call.request_id,
            method=call.method,
            principal=principal.name if principal else "",
            key_id=principal.key_id if principal else "",
            peer=call.context.peer(),
            table=call.table[:_MAX_TABLE],
            **getattr(call, "arguments", {}),
            status=call.code.name,
            reason=call.reason,
        )
