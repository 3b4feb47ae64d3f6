"""Finds out who calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import grpc

from dynamodb_processor_server.auth.api_keys import credential_of
from dynamodb_processor_server.auth.principal import Principal
from dynamodb_processor_server.errors import Unauthenticated
from dynamodb_processor_server.rpc.call_context import Call
from dynamodb_processor_server.rpc.interceptors.call_hook import CallHook
from dynamodb_processor_server.rpc.interceptors.unauthenticated import exempt_methods


class Authenticator(Protocol):
    """Says who shows a key."""

    def authenticate(self, text: str | None, now: float) -> Principal:
        """Return the principal, or raise Unauthenticated."""
        ...


class Authentication(CallHook):
    """Lets nobody through unknown, but for probes and, if it is open, reflection."""

    def __init__(
        self,
        authenticator: Callable[[], Authenticator],
        now: Callable[[], float],
        open_reflection: bool,
        note_refused: Callable[[grpc.aio.ServicerContext[Any, Any]], object] = lambda _: None,
    ) -> None:
        """Create it.

        Args:
            authenticator: Gives the one in force: keys are reloaded.
            now: Gives seconds since the epoch.
            open_reflection: Whether anybody may use reflection.
            note_refused: Called with the context of each call that is refused.
        """
        self._authenticator = authenticator
        self._now = now
        self._exempt = exempt_methods(open_reflection)
        self._note_refused = note_refused

    def applies_to(self, method: str) -> bool:
        """All methods but the exempt."""
        return not method.startswith(self._exempt)

    def on_start(self, call: Call) -> None:
        """Set the call's principal, or raise Unauthenticated."""
        try:
            self._authenticate(call)
        except Unauthenticated:
            self._note_refused(call.context)
            raise

    def on_response(self, call: Call) -> None:
        """Raise Unauthenticated if the key has expired, was removed or has another owner now."""
        if call.authenticator is self._authenticator() and self._now() < call.caller.expires:
            return
        name = call.caller.name
        self._authenticate(call)
        if call.caller.name != name:  # to whom the call's tokens and limits belong
            raise Unauthenticated("the API key belongs to another principal now")

    def _authenticate(self, call: Call) -> None:
        key = credential_of(call.metadata)
        authenticator = self._authenticator()
        call.authenticated(authenticator.authenticate(key, self._now()), authenticator)
