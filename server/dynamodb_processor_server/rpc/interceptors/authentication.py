"""Authenticates the caller of each call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol

import grpc

from dynamodb_processor_server.auth.api_keys import KeyRing, credential_of
from dynamodb_processor_server.auth.bearer.tokens import BearerTokens, token_of
from dynamodb_processor_server.auth.principal import Principal
from dynamodb_processor_server.errors import Unauthenticated
from dynamodb_processor_server.rpc.call_context import Call
from dynamodb_processor_server.rpc.interceptors.call_hook import CallHook
from dynamodb_processor_server.rpc.interceptors.unauthenticated import exempt_methods

_PEM: Final = "x509_pem_cert"  # gRPC's name of the verified certificate of a client


class Authenticator(Protocol):
    """Identifies callers by one kind of credential, such as API keys.

    Attributes:
        missing: The error text for calls without such a credential.
    """

    missing: str

    @property
    def version(self) -> object:
        """An object that is replaced whenever a credential may have been removed or changed.

        Running calls are then authenticated again.
        """
        ...

    def authenticate(self, call: Call, now: float) -> Principal | None:
        """Return the caller; None if the call has no credential of this kind.

        `now` is in seconds since the epoch. Raises Unauthenticated for an invalid credential.
        """
        ...


class KeysSource(Protocol):
    """The keys file, which is reloaded."""

    @property
    def current(self) -> KeyRing:
        """The callers of the version in force."""
        ...


class ApiKeyAuthenticator:
    """Identifies callers by the API key in a call's metadata."""

    missing = "no API key: send x-api-key or authorization: Bearer"

    def __init__(self, keys: KeysSource) -> None:
        """Create an authenticator of the keys in a file."""
        self._keys = keys

    @property
    def version(self) -> object:
        """The current keys."""
        return self._keys.current

    def authenticate(self, call: Call, now: float) -> Principal | None:
        """Return the principal of the key, None without a key; raise Unauthenticated."""
        key = credential_of(call.metadata)
        return None if key is None else self._keys.current.authenticate(key, now)


class CertificateAuthenticator:
    """Identifies callers by the client certificate of their connection."""

    missing = "no client certificate: connect to the port that requires one"

    def __init__(self, keys: KeysSource) -> None:
        """Create an authenticator of the certificates in a keys file."""
        self._keys = keys

    @property
    def version(self) -> object:
        """The callers of the file."""
        return self._keys.current

    def authenticate(self, call: Call, now: float) -> Principal | None:
        """Return the principal of the certificate, None without one; raise Unauthenticated.

        It is looked up at each call. A look-up by connection is not possible: gRPC names
        connections by the client's address alone, which the next client may have.
        """
        certificates: Any = call.context.auth_context().get(_PEM)
        if not certificates:
            return None
        return self._keys.current.certificates.authenticate(certificates[0], now)


class BearerAuthenticator:
    """Identifies callers by a bearer token, a JSON Web Token, in a call's metadata."""

    missing = "no bearer token: send authorization: Bearer"

    def __init__(self, tokens: BearerTokens) -> None:
        self._tokens = tokens

    @property
    def version(self) -> object:
        """The issuers, keys and roles in force."""
        return self._tokens.version

    def authenticate(self, call: Call, now: float) -> Principal | None:
        """Return the principal of the token, None without one; raise Unauthenticated."""
        token = token_of(call.metadata)
        return None if token is None else self._tokens.version.authenticate(token, now)


class Authentication(CallHook):
    """Refuses unauthenticated calls, except of health and, if it is open, of reflection.

    The authenticators are tried in order. The first one that finds a credential of its kind decides
    alone: if that credential is invalid the call is refused, whatever else it has.
    """

    def __init__(
        self,
        authenticators: Sequence[Authenticator],
        now: Callable[[], float],
        open_reflection: bool,
        note_refused: Callable[[grpc.aio.ServicerContext[Any, Any]], object] = lambda _: None,
    ) -> None:
        """Create the hook.

        Args:
            authenticators: The ways to identify a caller, in the order in which they are tried.
            now: Returns the seconds since the epoch.
            open_reflection: Whether unauthenticated callers may use reflection.
            note_refused: Called with the context of each refused call.
        """
        self._authenticators = tuple(authenticators)
        self._missing = "; ".join(one.missing for one in authenticators)
        self._now = now
        self._exempt = exempt_methods(open_reflection)
        self._note_refused = note_refused

    def applies_to(self, method: str) -> bool:
        """Return True for all methods that are not exempt."""
        return not method.startswith(self._exempt)

    def on_start(self, call: Call) -> Awaitable[None] | None:
        """Set the call's principal, or raise Unauthenticated.

        Returns an awaitable if a credential can be checked only after a wait, which is bounded.
        """
        try:
            self._authenticate(call)
        except Unauthenticated as error:
            if error.retry_after_wait is not None:
                return self._authenticate_after(call, error.retry_after_wait())
            self._note_refused(call.context)
            raise
        return None

    async def _authenticate_after(self, call: Call, wait: Awaitable[None]) -> None:
        await wait
        try:
            self._authenticate(call)
        except Unauthenticated:
            self._note_refused(call.context)
            raise

    def on_response(self, call: Call) -> None:
        """Raise Unauthenticated if the credential has expired, was removed or changed its owner."""
        authenticator: Authenticator = call.authenticator
        if authenticator.version is call.credentials and self._now() < call.caller.expires:
            return
        name = call.caller.name
        self._authenticate(call)
        if call.caller.name != name:  # the call's tokens and limits belong to the first principal
            raise Unauthenticated("the credential belongs to another principal now")

    def _authenticate(self, call: Call) -> None:
        now = self._now()
        for authenticator in self._authenticators:
            principal = authenticator.authenticate(call, now)
            if principal is not None:
                call.authenticated(principal, authenticator, authenticator.version)
                return
        raise Unauthenticated(self._missing)
