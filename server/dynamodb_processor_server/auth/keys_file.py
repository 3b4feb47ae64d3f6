"""The keys file: the valid API keys, each stored as a digest."""

from __future__ import annotations

import hashlib
import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Collection
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
_Digest = Annotated[
    str,
    matching(
        "sha256:[0-9A-Fa-f]{64}",
        "sha256: and the 64 hexadecimal digits of the key's SHA-256, never the key itself",
    ),
    AfterValidator(str.lower),
]
MethodRole = Literal["reader", "admin"]


class KeyEntry(StrictModel):
    """One API key.

    Attributes:
        id: Its name in logs; unique in the file.
        principal: The name of the caller that uses it.
        digest: `sha256:` and the SHA-256 of the key's text, in hexadecimal digits.
        roles: The kinds of methods that the key may call.
        tables: The tables that the key may read.
        rate_class: The name of the rate limits that apply to it.
        expires: The time from which it is no longer valid; None means never.
    """

    id: Name
    principal: Name
    digest: _Digest
    roles: Annotated[tuple[MethodRole, ...], AfterValidator(non_empty), AfterValidator(unique)] = (
        "reader",
    )
    tables: TableEntries
    rate_class: Name = DEFAULT_RATE_CLASS
    expires: AwareDatetime | None = None

    @field_validator("tables")
    @classmethod
    def _has_no_claims(cls, tables: TableEntries) -> TableEntries:
        for index, entry in enumerate(tables):
            for variable in entry.template.variables:
                if variable.path:
                    raise validation_error(
                        f"{variable.text}: an API key has no claims; its rules know ${{principal}}",
                        index,
                        "rule",
                    )
        return tables

    @field_validator("rate_class")
    @classmethod
    def _known_rate_class(cls, rate_class: str, info: ValidationInfo) -> str:
        known: Collection[str] | None = (info.context or {}).get("rate_classes")
        if known is not None and rate_class not in known:
            raise validation_error(f"must be one of the rate classes: {', '.join(sorted(known))}")
        return rate_class


class KeysFile(StrictModel):
    """The keys file as a whole; `keys: []` means that no key is valid.

    With the validation context `{"rate_classes": names}`, other rate classes are refused.
    """

    keys: tuple[KeyEntry, ...]

    @field_validator("keys")
    @classmethod
    def _are_unique(cls, keys: tuple[KeyEntry, ...]) -> tuple[KeyEntry, ...]:
        for attribute in ("id", "digest"):
            seen: dict[str, int] = {}
            for index, entry in enumerate(keys):
                first = seen.setdefault(getattr(entry, attribute), index)
                if first != index:
                    raise validation_error(f"is that of keys[{first}] already", index, attribute)
        return keys


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
    fields = {name: list(v) if isinstance(v, tuple) else v for name, v in stated.items()}
    lines = yaml.safe_dump([fields], sort_keys=False, default_flow_style=None, width=1_000)
    if entry.expires is not None:
        # PyYAML would quote the usual form of a time, or write a form of its own.
        moment = entry.expires.astimezone(UTC).replace(tzinfo=None)
        lines += f"  expires: {moment.isoformat(timespec='seconds')}Z\n"
    return re.sub("^", " " * indent, lines.rstrip("\n"), flags=re.MULTILINE) + "\n"
