"""Checks the role of each call, and on each response that its access is still granted."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from dynamodb_processor_server.catalog.catalog import Catalog
from dynamodb_processor_server.errors import AccessChanged, PermissionDenied
from dynamodb_processor_server.rpc.call_context import Call
from dynamodb_processor_server.rpc.interceptors.call_hook import CallHook
from dynamodb_processor_server.rpc.table_access import recheck


class Authorization(CallHook):
    """Checks roles, and the access of running calls to their tables.

    `roles` maps the full name of each service to the role that it needs.
    """

    def __init__(self, roles: Mapping[str, str], catalog: Catalog) -> None:
        self._catalog = catalog
        self._roles = {f"/{service}/": role for service, role in roles.items()}
        self._role = cache(self._role_of)

    def applies_to(self, method: str) -> bool:
        """Return True for methods of the services that need a role."""
        return method.startswith(tuple(self._roles))

    def _role_of(self, method: str) -> str:
        return self._roles[method[: method.rindex("/") + 1]]

    def on_start(self, call: Call) -> None:
        """Raise PermissionDenied for a principal without the service's role."""
        role = self._role(call.method)
        if role not in call.caller.roles:
            raise PermissionDenied(f"this method needs the role {role}")
        call.authorized = call.principal

    def on_response(self, call: Call) -> None:
        """Raise if the role, or the access that the call began with, is no longer granted.

        A response that concerns no single table depends on all grants. Raises as `recheck`.
        """
        access, before = call.access, call.authorized
        # A principal never changes: reloaded keys have new principals.
        if call.principal is before and (access is None or access.version == self._catalog.version):
            return
        self.on_start(call)
        if access is not None:
            # A first message is counted before it is sent.
            answered = call.messages > 1
            call.access = recheck(access, call.caller, self._catalog, has_answered=answered)
        elif before is None or call.caller.grants != before.grants:
            raise AccessChanged("what you may read has changed; repeat the call")
