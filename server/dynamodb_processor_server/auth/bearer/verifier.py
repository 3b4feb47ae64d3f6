"""Verifies bearer tokens: JSON Web Tokens (RFC 7519), signed by a key of their issuer.

The order of the checks is that of RFC 8725: form, issuer, algorithm, key, signature, then claims.
Until the signature is verified, the content of a token only chooses the key that verifies it.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, NoReturn

from joserfc import jws
from joserfc.errors import JoseError

from dynamodb_processor_server.auth.bearer.identity_file import IssuerEntry
from dynamodb_processor_server.auth.bearer.key_set import KeySet, PublicKey
from dynamodb_processor_server.errors import BearerTokenRefused

#: Characters of a token; gRPC accepts at most 16 KB of metadata.
MAX_TOKEN: Final = 16 * 1024
_MAX_HEADER: Final = 8 * 1024
_MAX_TIME: Final = 1e12  # seconds; later than any clock of a computer
_MAX_SIGNATURE: Final = 1_400  # characters of one by an RSA key of 8,192 bits

_MALFORMED: Final = "is no JSON Web Token that is accepted here"
_ALGORITHM: Final = "is signed by an algorithm that is not allowed for its issuer"
_SIGNATURE: Final = "has a signature that its issuer's key does not verify"
_ISSUER: Final = "is from an issuer that is not accepted here"
_AUDIENCE: Final = "is not for this service: its audience is another"
_EXPIRED: Final = "has expired: send a new one"
_EARLY: Final = "is not valid yet"
_NO_KEYS: Final = "cannot be verified: the keys of its issuer are not available at the moment"
_UNKNOWN_KEY: Final = "names a key that its issuer does not have"


@dataclass(frozen=True, slots=True)
class Issuer:
    """An issuer with its keys in force, None if there are none yet; `refresh` reads them again."""

    entry: IssuerEntry
    keys: KeySet | None
    refresh: Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """A token whose signature and registered claims are valid.

    `expires` is in seconds since the epoch, with the issuer's leeway.
    """

    issuer: IssuerEntry
    claims: Mapping[str, Any]
    expires: float


class TokenVerifier:
    """Verifies tokens of some issuers with their keys of one moment."""

    def __init__(self, issuers: Sequence[Issuer]) -> None:
        self._by_name = {issuer.entry.issuer: issuer for issuer in issuers}
        self._registries = {
            issuer.entry.issuer: _registry(issuer.entry.algorithms) for issuer in issuers
        }

    def verify(self, token: str, now: float) -> VerifiedToken:
        """Return a valid token's content; `now` is in seconds since the epoch.

        Raises BearerTokenRefused, with a `retry_after_wait` if the issuer may have new keys.
        """
        parsed, header, claims = _parsed(token)
        name = claims.get("iss")
        issuer = self._by_name.get(name) if isinstance(name, str) else None
        if issuer is None:
            raise BearerTokenRefused("BEARER_TOKEN_ISSUER", _ISSUER)
        entry = issuer.entry
        if header.get("alg") not in entry.algorithms:
            raise BearerTokenRefused("BEARER_TOKEN_INVALID", _ALGORITHM)
        if issuer.keys is None:
            raise BearerTokenRefused("BEARER_TOKEN_KEY", _NO_KEYS, issuer.refresh)
        key = issuer.keys.find(header.get("kid"))
        if key is None:
            raise BearerTokenRefused("BEARER_TOKEN_KEY", _UNKNOWN_KEY, issuer.refresh)
        _check_signature(parsed, key, self._registries[entry.issuer])
        _check_audience(claims.get("aud"), entry.audience)
        return VerifiedToken(entry, claims, _checked_end(claims, now, entry.leeway))


def _registry(algorithms: Sequence[str]) -> jws.JWSRegistry:
    registry = jws.JWSRegistry(algorithms=algorithms, strict_check_header=False)
    registry.max_header_length = _MAX_HEADER
    registry.max_payload_length = MAX_TOKEN
    registry.max_signature_length = _MAX_SIGNATURE
    return registry


_ANY: Final = _registry(("RS256",))  # for the sizes; the algorithm is checked later


def _parsed(token: str) -> tuple[jws.CompactSignature, Mapping[str, Any], Mapping[str, Any]]:
    """Return a token's parts, header and claims; nothing of them is verified yet."""
    try:
        if len(token) > MAX_TOKEN:
            raise ValueError("too long")
        parsed = jws.extract_compact(token.encode("ascii"), registry=_ANY)
        header: Any = parsed.headers()
        # A float would turn different numbers, such as the ids of two tenants, into one.
        claims = json.loads(parsed.payload, parse_float=Decimal, parse_constant=_refuse_constant)
        # A critical extension must be understood (RFC 7515, section 4.1.11), and none is here.
        if not isinstance(header, dict) or not isinstance(claims, dict) or "crit" in header:
            raise ValueError("no token")
    except (JoseError, ValueError, ArithmeticError, TypeError, AttributeError, RecursionError):
        raise BearerTokenRefused("BEARER_TOKEN_INVALID", _MALFORMED) from None
    return parsed, header, claims


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")  # RFC 8259, section 6


def _check_signature(
    parsed: jws.CompactSignature, key: PublicKey, registry: jws.JWSRegistry
) -> None:
    try:
        valid = jws.validate_compact(parsed, key, registry=registry)
    except (JoseError, ValueError, TypeError):  # such as a key of another kind
        valid = False
    if not valid:
        raise BearerTokenRefused("BEARER_TOKEN_INVALID", _SIGNATURE)


def _check_audience(audience: Any, accepted: Sequence[str]) -> None:
    named = audience if isinstance(audience, list) else [audience]
    if not any(isinstance(name, str) and name in accepted for name in named):
        raise BearerTokenRefused("BEARER_TOKEN_AUDIENCE", _AUDIENCE)


def _checked_end(claims: Mapping[str, Any], now: float, leeway: float) -> float:
    """Return the time when a token ends; raise BearerTokenRefused outside of its validity."""
    for name in ("nbf", "iat"):
        begin = _time(claims, name)
        if begin is not None and now < begin - leeway:
            raise BearerTokenRefused("BEARER_TOKEN_NOT_YET_VALID", _EARLY)
    end = _time(claims, "exp")
    if end is None:
        raise BearerTokenRefused("BEARER_TOKEN_CLAIM", "lacks the claim exp: it must expire")
    if now >= end + leeway:
        raise BearerTokenRefused("BEARER_TOKEN_EXPIRED", _EXPIRED)
    return end + leeway


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    """Return a claim that is a time, in seconds since the epoch; None if it is absent."""
    value = claims.get(name)
    if value is None:
        return None
    is_number = isinstance(value, int | Decimal) and not isinstance(value, bool)
    if is_number and -_MAX_TIME < value < _MAX_TIME:
        return float(value)
    raise BearerTokenRefused("BEARER_TOKEN_CLAIM", f"has a claim {name} that is not a time")
