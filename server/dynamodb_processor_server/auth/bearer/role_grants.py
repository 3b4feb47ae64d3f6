"""The principals of bearer tokens: their roles' grants, bound to their claims."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from dynamodb_processor_server.auth.bearer.identity_file import IssuerEntry, RoleEntry
from dynamodb_processor_server.auth.bearer.verifier import VerifiedToken
from dynamodb_processor_server.auth.grants import Grant
from dynamodb_processor_server.auth.keys_file import DEFAULT_RATE_CLASS
from dynamodb_processor_server.auth.principal import Principal
from dynamodb_processor_server.auth.rule_template import Subject, UnboundVariable, claim_at
from dynamodb_processor_server.errors import BearerTokenRefused

_MAX_NAME: Final = 255  # of a `sub`, as OpenID Connect has it
_MAX_TOKEN_ID: Final = 64  # characters of a claim `jti` that is logged
_DIGEST_DIGITS: Final = 16


class RoleGrants:
    """The roles of an identity file.

    A token with several roles has the grants of all, those of the role that comes first in the file
    before those of the next. Its rate class is that of the first. It may call the methods of each.
    """

    def __init__(self, roles: Mapping[str, RoleEntry], further: Sequence[Grant] = ()) -> None:
        """Create it; each principal has `further` grants behind its own."""
        self._roles = dict(roles)
        self._further = tuple(further)

    def principal_of(self, verified: VerifiedToken, token: str) -> Principal:
        """Return the principal of a verified token. A token without known roles grants nothing.

        Raises BearerTokenRefused for a token without a claim that it needs.
        """
        issuer, claims = verified.issuer, verified.claims
        name = f"{issuer.id}:{_caller(issuer, claims)}"
        named = {*issuer.roles, *_named_roles(claim_at(claims, issuer.roles_claim))}
        roles = [entry for role, entry in self._roles.items() if role in named]
        return Principal(
            key_id=f"{issuer.id}:{_token_id(claims, token)}",
            name=name,
            roles=frozenset(method for role in roles for method in role.methods),
            grants=(*_grants(roles, Subject(name, claims)), *self._further),
            rate_class=roles[0].rate_class if roles else DEFAULT_RATE_CLASS,
            expires=verified.expires,
        )


def _grants(roles: Sequence[RoleEntry], subject: Subject) -> list[Grant]:
    try:
        return [entry.template.bind(subject) for role in roles for entry in role.tables]
    except UnboundVariable as unbound:
        raise BearerTokenRefused(
            "BEARER_TOKEN_CLAIM", f"does not fit its role: {unbound.variable} {unbound.reason}"
        ) from None


def _caller(issuer: IssuerEntry, claims: Mapping[str, Any]) -> str:
    value = claim_at(claims, issuer.principal)
    if isinstance(value, str) and _is_printable(value, _MAX_NAME):
        return value
    raise BearerTokenRefused(
        "BEARER_TOKEN_CLAIM",
        f"has no claim {'.'.join(map(str, issuer.principal))} with 1 to {_MAX_NAME} printable "
        "ASCII characters, which names the caller",
    )


def _named_roles(value: Any) -> list[str]:
    """Return the roles in a claim: a list of texts, or a text with spaces between (RFC 8693).

    Only the space of ASCII is one: others may be part of a role's name.
    """
    if isinstance(value, str):
        return value.split(" ")
    return [role for role in value if isinstance(role, str)] if isinstance(value, list) else []


def _token_id(claims: Mapping[str, Any], token: str) -> str:
    """Return a name of the token for logs: its claim `jti`, else the beginning of its digest."""
    value = claims.get("jti")
    if isinstance(value, str) and _is_printable(value, _MAX_TOKEN_ID):
        return value
    return hashlib.sha256(token.encode()).hexdigest()[:_DIGEST_DIGITS]


def _is_printable(text: str, longest: int) -> bool:
    return 0 < len(text) <= longest and text.isascii() and text.isprintable()
