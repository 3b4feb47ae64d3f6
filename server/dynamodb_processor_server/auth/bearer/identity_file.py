"""The identity file: the issuers of bearer tokens, and the grants of the roles that tokens name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StrictInt,
    ValidationInfo,
    field_validator,
    model_validator,
)

from dynamodb_processor_server.auth.keys_file import (
    DEFAULT_RATE_CLASS,
    MethodRole,
    RateClassName,
)
from dynamodb_processor_server.auth.table_entries import TableEntries
from dynamodb_processor_server.config_files import (
    ConfigDocument,
    StrictModel,
    duration,
    matching,
    non_empty,
    unique,
    validation_error,
)
from dynamodb_processor_server.query.expression.parser import ExpressionError, parse_path

#: Signatures that a public key verifies. `none` and those of shared secrets cannot be allowed.
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
_LONGEST_LEEWAY: Final = 300  # seconds


def _claim_path(text: object) -> object:
    """Return the path of a claim as its parts; a list of parts is one already."""
    if not isinstance(text, str):
        return text
    try:
        return parse_path(text).parts
    except ExpressionError as error:
        raise validation_error(f"is not the path of a claim: {error}") from None


def _can_name_a_claim(path: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Validate a path that was given as a list of its parts."""
    for index, part in enumerate(path):
        is_name = isinstance(part, str) and part != ""
        if not is_name and not (index and isinstance(part, int) and part >= 0):
            raise validation_error("must be a name, or behind one a list index from 0 on", index)
    return non_empty(path)


def _listed(value: object) -> object:
    """Return a list of one text for the text alone."""
    return [value] if isinstance(value, str) else value


def _key_set_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
    except ValueError:  # such as a port that is no number
        host, parts = "", urlsplit("")
    if host and parts.username is None and parts.scheme == "https":
        return text
    if host and parts.username is None and parts.scheme == "http" and _is_loopback(host):
        return text
    raise validation_error(
        "must be an https URL without a user, or an http URL of this machine, such as "
        "https://login.example.com/keys"
    )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


_RoleName = Annotated[str, Field(min_length=1)]
_IssuerId = Annotated[
    str,
    # No colon: it separates the id from the claim in the name of a principal. With one in the id, a
    # caller of one issuer could have the name of another's.
    matching(r"[A-Za-z0-9_.@-]{1,128}", "1 to 128 of the characters A-Z a-z 0-9 _ . @ -"),
]
ClaimPath = Annotated[
    tuple[str | StrictInt, ...], BeforeValidator(_claim_path), AfterValidator(_can_name_a_claim)
]
_Texts = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...],
    BeforeValidator(_listed),
    AfterValidator(non_empty),
    AfterValidator(unique),
]


class IssuerEntry(StrictModel):
    """An issuer of bearer tokens.

    Attributes:
        id: Its name in logs and metrics, and the beginning of its principals' names.
        issuer: The claim `iss` of its tokens, compared as text.
        audience: The names of this service, one of which the claim `aud` must hold.
        algorithms: The algorithms that may sign its tokens.
        jwks_url: The address of its key set (JWKS, RFC 7517).
        jwks_file: The path of a file with its key set; a relative one begins at the identity file.
        leeway: Seconds by which clocks may differ.
        principal: The path of the claim that names the caller.
        roles_claim: The path of the claim that lists roles: a list, or a text with spaces between.
        roles: The roles that each token of the issuer has without naming them.
    """

    id: _IssuerId
    issuer: Annotated[str, Field(min_length=1)]
    audience: _Texts
    algorithms: Annotated[
        tuple[Algorithm, ...], AfterValidator(non_empty), AfterValidator(unique)
    ] = ("RS256",)
    jwks_url: Annotated[str, AfterValidator(_key_set_url)] | None = None
    jwks_file: Path | None = None
    leeway: Annotated[float, duration(0, _LONGEST_LEEWAY)] = 30.0
    principal: ClaimPath = ("sub",)
    roles_claim: ClaimPath = ("roles",)
    roles: Annotated[tuple[_RoleName, ...], AfterValidator(unique)] = ()

    @model_validator(mode="after")
    def _has_one_key_set(self) -> IssuerEntry:
        if (self.jwks_url is None) == (self.jwks_file is None):
            raise validation_error("needs jwks_url or jwks_file, one of the two")
        return self


class RoleEntry(StrictModel):
    """The grants of a role that a token may name.

    Attributes:
        methods: The kinds of methods that it may call.
        rate_class: The name of the rate limits that apply to it.
        tables: The tables that it may read.
    """

    methods: Annotated[
        tuple[MethodRole, ...], AfterValidator(non_empty), AfterValidator(unique)
    ] = ("reader",)
    rate_class: RateClassName = DEFAULT_RATE_CLASS
    tables: TableEntries


class IdentityFile(StrictModel):
    """The identity file as a whole.

    Attributes:
        roles: The roles by name, in the order in which they apply to a token with several.
        issuers: The issuers; tokens of others are refused.
    """

    roles: dict[_RoleName, RoleEntry]
    issuers: Annotated[tuple[IssuerEntry, ...], AfterValidator(non_empty)]

    @field_validator("issuers")
    @classmethod
    def _are_unique(
        cls, issuers: tuple[IssuerEntry, ...], info: ValidationInfo
    ) -> tuple[IssuerEntry, ...]:
        known: Mapping[str, Any] | None = info.data.get("roles")
        for attribute in ("id", "issuer"):
            seen: dict[str, int] = {}
            for index, entry in enumerate(issuers):
                first = seen.setdefault(getattr(entry, attribute), index)
                if first != index:
                    raise validation_error(f"is that of issuers[{first}] already", index, attribute)
        for index, entry in enumerate(issuers):
            for number, role in enumerate(entry.roles):
                if known is not None and role not in known:
                    raise validation_error("names no role of this file", index, "roles", number)
        return issuers

    @classmethod
    def build(
        cls, document: ConfigDocument, rate_classes: Collection[str] | None = None
    ) -> IdentityFile:
        """Return the content of an identity file, with absolute paths of key sets.

        Raises ConfigurationError for errors in the content; all of them are listed.
        """
        context = None if rate_classes is None else {"rate_classes": frozenset(rate_classes)}
        file = document.parse(cls, context)
        directory = document.path.parent
        issuers = tuple(
            entry
            if entry.jwks_file is None
            else entry.model_copy(update={"jwks_file": directory / entry.jwks_file})
            for entry in file.issuers
        )
        return file.model_copy(update={"issuers": issuers})
