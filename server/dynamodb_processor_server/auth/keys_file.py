"""The keys file: the callers, by the digests of their API keys and the names in certificates."""

from __future__ import annotations

import hashlib
import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Collection, Sequence
from datetime import UTC
from typing import Annotated, Final, Literal

import yaml
from pydantic import AfterValidator, AwareDatetime, ValidationInfo, field_validator

from dynamodb_processor_server.auth.table_entries import TableEntries
from dynamodb_processor_server.config_files import (
    StrictModel,
    matching,
    non_empty,
    unique,
    validation_error,
)

KEY_PREFIX: Final = "ddbp_"
DEFAULT_RATE_CLASS: Final = "default"
_KEY_BYTES: Final = 32

Name = Annotated[
    str, matching(r"[A-Za-z0-9_.:@-]{1,128}", "1 to 128 of the characters A-Z a-z 0-9 _ . : @ -")
]


def _known_rate_class(rate_class: str, info: ValidationInfo) -> str:
    known: Collection[str] | None = (info.context or {}).get("rate_classes")
    if known is not None and rate_class not in known:
        raise validation_error(f"must be one of the rate classes: {', '.join(sorted(known))}")
    return rate_class


#: The name of a rate class; the context `{"rate_classes": names}` has the known ones.
RateClassName = Annotated[Name, AfterValidator(_known_rate_class)]
_Digest = Annotated[
    str,
    matching(
        "sha256:[0-9A-Fa-f]{64}",
        "sha256: and the 64 hexadecimal digits of the key's SHA-256, never the key itself",
    ),
    AfterValidator(str.lower),
]
_San = Annotated[
    str,
    matching(
        r"(?i:DNS):[A-Za-z0-9*._-]{1,253}|(?i:URI):[A-Za-z][A-Za-z0-9+.-]*:[!-~]{1,2048}",
        "DNS: and a name, or URI: and a URI, as in the certificate's subject alternative name: "
        "URI:spiffe://example.org/reports",
    ),
    AfterValidator(lambda san: normal_san(*san.split(":", 1))),
]
MethodRole = Literal["reader", "admin"]


class _Caller(StrictModel):
    """One caller.

    Attributes:
        id: The entry's name in logs; unique in the file.
        principal: The name of the caller.
        roles: The kinds of methods that it may call.
        tables: The tables that it may read.
        rate_class: The name of the rate limits that apply to it.
        expires: The time from which the entry is no longer valid; None means never.
    """

    id: Name
    principal: Name
    roles: Annotated[tuple[MethodRole, ...], AfterValidator(non_empty), AfterValidator(unique)] = (
        "reader",
    )
    tables: TableEntries
    rate_class: RateClassName = DEFAULT_RATE_CLASS
    expires: AwareDatetime | None = None

    @field_validator("tables")
    @classmethod
    def _has_no_claims(cls, tables: TableEntries) -> TableEntries:
        for index, entry in enumerate(tables):
            for variable in entry.template.variables:
                if variable.path:
                    raise validation_error(
                        f"{variable.text}: this file has no claims; its rules know ${{principal}}",
                        index,
                        "rule",
                    )
        return tables


class KeyEntry(_Caller):
    """A caller that sends an API key.

    Attributes:
        digest: `sha256:` and the SHA-256 of the key's text, in hexadecimal digits.
    """

    digest: _Digest


class CertificateEntry(_Caller):
    """A caller that connects with a client certificate.

    Attributes:
        san: A subject alternative name of its certificates, `DNS:` and a name or `URI:` and a URI.
            It is compared as a whole: `*` has no special meaning.
    """

    san: _San


class KeysFile(StrictModel):
    """The keys file as a whole; `keys: []` means that no API key is valid.

    With the validation context `{"rate_classes": names}`, other rate classes are refused.
    """

    keys: tuple[KeyEntry, ...]
    certificates: tuple[CertificateEntry, ...] = ()

    @property
    def ids(self) -> set[str]:
        """The ids of all entries."""
        return {entry.id for entry in (*self.keys, *self.certificates)}

    @field_validator("keys")
    @classmethod
    def _keys_are_unique(cls, keys: tuple[KeyEntry, ...]) -> tuple[KeyEntry, ...]:
        _check_unique([("keys", index, entry) for index, entry in enumerate(keys)], "digest")
        return keys

    @field_validator("certificates")
    @classmethod
    def _certificates_are_unique(
        cls, certificates: tuple[CertificateEntry, ...], info: ValidationInfo
    ) -> tuple[CertificateEntry, ...]:
        keys = info.data.get("keys", ())
        entries = [("keys", index, entry) for index, entry in enumerate(keys)]
        entries += [("certificates", index, entry) for index, entry in enumerate(certificates)]
        _check_unique(entries, "san")
        return certificates


def _check_unique(entries: Sequence[tuple[str, int, _Caller]], credential: str) -> None:
    """Raise for an entry of the last list whose id or credential an earlier entry has."""
    checked = entries[-1][0] if entries else ""
    for attribute in ("id", credential):
        seen: dict[str, tuple[str, int]] = {}
        for name, index, entry in entries:
            if (value := getattr(entry, attribute, None)) is None:
                continue
            first = seen.setdefault(value, (name, index))
            if name == checked and first != (name, index):
                reason = f"is that of {first[0]}[{first[1]}] already"
                raise validation_error(reason, index, attribute)


def normal_san(kind: str, value: str) -> str:
    """Return a subject alternative name in the form in which two are compared.

    `kind` is DNS or URI, in any case. The names of hosts have no case (RFC 4343); the paths of URIs
    have one.
    """
    kind = kind.upper()
    return f"{kind}:{value.lower() if kind == 'DNS' else value}"


def new_key() -> tuple[str, str]:
    """Return the text of a new random key, and the digest to store for it."""
    text = KEY_PREFIX + urlsafe_b64encode(secrets.token_bytes(_KEY_BYTES)).decode().rstrip("=")
    return text, digest_of(text)


def digest_of(text: str) -> str:
    """Return the digest of a key's text in the form of the keys file."""
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def render_entry(entry: KeyEntry, indent: int = 2) -> str:
    """Return the YAML of one entry, as an item of the list under `keys:`."""
    stated = entry.model_dump(exclude_defaults=True, exclude={"expires"})
    stated = {name: stated.pop(name) for name in ("id", "principal", "digest")} | stated
    fields = {name: list(v) if isinstance(v, tuple) else v for name, v in stated.items()}
    lines = yaml.safe_dump([fields], sort_keys=False, default_flow_style=None, width=1_000)
    if entry.expires is not None:
        # PyYAML would quote the usual form of a time, or write a form of its own.
        moment = entry.expires.astimezone(UTC).replace(tzinfo=None)
        lines += f"  expires: {moment.isoformat(timespec='seconds')}Z\n"
    return re.sub("^", " " * indent, lines.rstrip("\n"), flags=re.MULTILINE) + "\n"
