"""The keys file: the valid API keys, each stored as a digest."""

from __future__ import annotations

import hashlib
import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Collection
from datetime import UTC
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    SerializerFunctionWrapHandler,
    StrictBool,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_serializer,
)

from dynamodb_processor_server.auth.grants import Grant, shadowed_by
from dynamodb_processor_server.catalog.config import AttributeName, TablePattern
from dynamodb_processor_server.config_files import (
    StrictModel,
    matching,
    non_empty,
    unique,
    validation_error,
)
from dynamodb_processor_server.query.expression.parser import ExpressionError, parse_expression
from dynamodb_processor_server.query.planning.row_rule import RowRule

KEY_PREFIX: Final = "ddbp_"
DEFAULT_RATE_CLASS: Final = "default"
_KEY_BYTES: Final = 32

_Name = Annotated[
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
_Role = Literal["reader", "admin"]


class TableEntry(StrictModel):
    """A granted table, or several tables by pattern; a bare name grants a table unrestricted.

    Attributes:
        table: A logical name or a case-sensitive `fnmatch` pattern.
        attributes: The attributes that may be named and seen; None means all that the table shows.
        rule: A condition in the language of `expression`, without parameters, that items must meet;
            None means all items.
        rule_as_filter: Whether a read may skip items that the rule hides.
    """

    table: TablePattern
    attributes: (
        Annotated[tuple[AttributeName, ...], AfterValidator(non_empty), AfterValidator(unique)]
        | None
    ) = None
    rule: str | None = None
    rule_as_filter: StrictBool = False

    @field_validator("rule")
    @classmethod
    def _is_expression(cls, rule: str | None) -> str | None:
        if rule is not None:
            try:
                parse_expression(rule, {})
            except ExpressionError as error:
                raise validation_error(str(error)) from None
        return rule

    @field_validator("rule_as_filter")
    @classmethod
    def _with_rule(cls, as_filter: bool, info: ValidationInfo) -> bool:
        if as_filter and info.data.get("rule", "") is None:
            raise validation_error("is for tables with a rule")
        return as_filter

    @model_serializer(mode="wrap")
    def _as_written(self, handler: SerializerFunctionWrapHandler) -> Any:
        stated = handler(self)
        return self.table if stated.keys() == {"table"} else stated

    @property
    def grant(self) -> Grant:
        """The grant that the entry stands for."""
        rule = None
        if self.rule is not None:
            rule = RowRule(parse_expression(self.rule, {}), self.rule_as_filter)
        attributes = None if self.attributes is None else frozenset(self.attributes)
        return Grant(self.table, attributes, rule)


_PATTERN: Final[TypeAdapter[str]] = TypeAdapter(TablePattern)


def _from_name(entry: Any) -> Any:
    """Return the entry for a bare name; other values unchanged."""
    if not isinstance(entry, str):
        return entry
    try:
        return {"table": _PATTERN.validate_python(entry)}
    except ValidationError as error:  # the operator wrote no field `table` to name in the error
        raise validation_error(error.errors()[0]["msg"]) from None


class KeyEntry(StrictModel):
    """One API key.

    Attributes:
        id: Its name in logs; unique in the file.
        principal: The name of the caller that uses it.
        digest: `sha256:` and the SHA-256 of the key's text, in hexadecimal digits.
        roles: The kinds of methods that the key may call.
        tables: The tables that the key may read. An entry of a table's own name applies before
            patterns, and the first matching pattern before later ones; entries are never combined.
        rate_class: The name of the rate limits that apply to it.
        expires: The time from which it is no longer valid; None means never.
    """

    id: _Name
    principal: _Name
    digest: _Digest
    roles: Annotated[tuple[_Role, ...], AfterValidator(non_empty), AfterValidator(unique)] = (
        "reader",
    )
    tables: Annotated[
        tuple[Annotated[TableEntry, BeforeValidator(_from_name)], ...], AfterValidator(non_empty)
    ]
    rate_class: _Name = DEFAULT_RATE_CLASS
    expires: AwareDatetime | None = None

    @field_validator("tables")
    @classmethod
    def _none_is_shadowed(cls, tables: tuple[TableEntry, ...]) -> tuple[TableEntry, ...]:
        unique(tuple(entry.table for entry in tables))
        grants = [entry.grant for entry in tables]
        for index in range(len(grants)):
            earlier = shadowed_by(grants, index)
            if earlier is not None:
                raise validation_error(
                    f"never counts: entry {earlier}, {grants[earlier].table}, matches all that it "
                    "does; list the narrower pattern first",
                    index,
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
