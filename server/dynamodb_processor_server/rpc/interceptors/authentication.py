"""Authenticates the caller of each call by its API key."""

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
    """Finds the principal of an API key."""

    def authenticate(self, text: str | None, now: float) -> Principal:
        """Return the principal, or raise Unauthenticated."""
        ...


class Authentication(CallHook):
    """Refuses unauthenticated calls, except of health and, if it is open, of reflection."""

    def __init__(
        self,
        authenticator: Callable[[], Authenticator],
        now: Callable[[], float],
        open_reflection: bool,
        note_refused: Callable[[grpc.aio.ServicerContext[Any, Any]], object] = lambda _: None,
    ) -> None:
        """Create the hook.

        Args:
            authenticator: Returns the current authenticator, as keys are reloaded.
            now: Returns the seconds since the epoch.
            open_reflection: Whether unauthenticated callers may use reflection.
            note_refused: Called with the context of each refused call.
        """
        self._authenticator = authenticator
        self._now = now
        self._exempt = exempt_methods(open_reflection)
        self._note_refused = note_refused

    def applies_to(self, method: str) -> bool:
        """Return True for all methods that are not exempt."""
        return not method.startswith(self._exempt)

    def on_start(self, call: Call) -> None:
        """Set the call's principal, or raise Unauthenticated."""
        try:
            self._authenticate(call)
        except Unauthenticated:
            self._note_refused(call.context)
            raise

    def on_response(self, call: Call) -> None:
        """Raise Unauthenticated if the key has expired, was removed or changed its owner."""
        if call.authenticator is self._authenticator() and self._now() < call.caller.expires:
            return
        name = call.caller.name
        self._authenticate(call)
        if call.caller.name != name:  # the call's tokens and limits belong to the first principal
            raise Unauthenticated("the API key belongs to another principal now")

    def _authenticate(self, call: Call) -> None:
        key = credential_of(call.metadata)
        authenticator = self._authenticator()
        call.authenticated(authenticator.authenticate(key, self._now()), authenticator)
