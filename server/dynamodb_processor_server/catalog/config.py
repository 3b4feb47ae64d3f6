"""The catalog's configuration: which tables can be read, and how.

The rest (keys, indexes, projections) comes from DynamoDB's descriptions of the tables.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, StrictBool, ValidationInfo, field_validator

from dynamodb_processor_server.catalog.key_templates import KeyTemplate
from dynamodb_processor_server.catalog.logical_view import LogicalView
from dynamodb_processor_server.catalog.table_arn import TABLE_ARN, region_of
from dynamodb_processor_server.catalog.timestamps import FORMS
from dynamodb_processor_server.config_files import (
    StrictModel,
    duration,
    matching,
    non_empty,
    unique,
    validation_error,
)

DEFAULT_PAGE_SIZE: Final = 100
DEFAULT_MAX_PAGE_SIZE: Final = 1_000
DEFAULT_CACHE_TTL: Final = 300.0

# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html
_DYNAMODB_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{3,255}")

_PATTERN: Final = re.compile(r"[A-Za-z0-9_.*?\[\]!-]{1,255}")

LogicalName = Annotated[
    str, matching(r"[A-Za-z0-9_.-]{1,255}", "1 to 255 of the characters A-Z a-z 0-9 _ . -")
]
TableReference = Annotated[
    str,
    matching(
        f"{_DYNAMODB_NAME.pattern}|{TABLE_ARN}",
        "3 to 255 of the characters A-Z a-z 0-9 _ . -, or the ARN of a table, "
        "arn:aws:dynamodb:REGION:ACCOUNT:table/NAME",
    ),
]
TablePattern = Annotated[
    str,
    matching(
        _PATTERN.pattern,
        "1 to 255 of the characters A-Z a-z 0-9 _ . - and the wildcards * ? [ ] !",
    ),
]
AttributeName = Annotated[str, Field(min_length=1, max_length=65_535)]
_SET_A_REGION: Final = "no AWS region is set; set --region, AWS_REGION or AWS_DEFAULT_REGION"
_Region = Annotated[str, matching(r"[A-Za-z0-9-]{1,63}", "the name of an AWS region")]
_RoleArn = Annotated[
    str,
    matching(
        r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,512}",
        "the ARN of an IAM role, arn:aws:iam::ACCOUNT:role/NAME",
    ),
]
TimestampFormName = Literal[
    "iso8601", "iso8601_milliseconds", "iso8601_microseconds", "epoch_seconds", "epoch_milliseconds"
]
_Attributes = Annotated[tuple[AttributeName, ...], AfterValidator(unique)]
_Seconds = Annotated[float, duration(0, 86_400)]
_PageSize = Annotated[int, Field(strict=True, ge=1, le=10_000)]


class PageSizes(StrictModel):
    """How many items a page holds by default and at most."""

    maximum: _PageSize = DEFAULT_MAX_PAGE_SIZE
    default: _PageSize = Field(
        default_factory=lambda given: min(DEFAULT_PAGE_SIZE, given["maximum"])
    )

    @field_validator("default")
    @classmethod
    def _within_maximum(cls, default: int, info: ValidationInfo) -> int:
        maximum = info.data.get("maximum", default)
        if default > maximum:
            raise validation_error(f"must not be more than the maximum, {maximum}")
        return default


def _has_default_region(info: ValidationInfo) -> bool:
    """Return whether a table may leave out its region; True without a validation context."""
    return info.context is None or bool(info.context.get("has_region", True))


class TableOptions(StrictModel):
    """Options of a table: the attributes that readers see, their rights, caching and keys.

    Attributes:
        description: A text for the readers.
        page_size: Items per page.
        cache_ttl: Seconds for which pages stay cached; 0 disables caching.
        stale_while_revalidate: Seconds after `cache_ttl` in which an expired page is served once
            more while it is read again; 0 disables this.
        stale_if_error: Seconds after `cache_ttl` in which an expired page is served when DynamoDB
            fails; 0 disables this.
        attributes: The attributes that readers see; None means all.
        required: The attributes that the operator guarantees to exist in every item. If such an
            attribute belongs to an index's key, its value is also guaranteed to be a valid key: of
            the key's type, not empty, and of at most 1,024 bytes (2,048 in a partition key).
        sparse: Whether an index that may lack items is used anyway.
        allow_scan: Whether a condition that fixes no partition key is served.
        timestamps: Attributes and fields of keys that hold times, with the form of each.
        keys: Templates of stored keys by attribute, such as `PK: "USER#{user_id}"`. If an item
            matches several templates with a common field, the first gives the field's value.
        expose_keys: Whether readers see the stored keys that have templates.
        time_to_live: The attribute with the time, in seconds since the epoch, after which DynamoDB
            deletes an item. The deletion may be late.
        hide_expired: Whether items past that time are left out while DynamoDB still has them.
        invalidate_from_stream: Whether the table's stream is consumed, so that writes to the table
            invalidate cached pages.
    """

    description: str = Field(default="", max_length=1_000)
    page_size: PageSizes = PageSizes()
    cache_ttl: _Seconds = DEFAULT_CACHE_TTL
    stale_while_revalidate: _Seconds = 0.0
    stale_if_error: _Seconds = 0.0
    attributes: Annotated[_Attributes, AfterValidator(non_empty)] | None = None
    required: _Attributes = ()
    sparse: Literal["refuse", "allow"] = "refuse"
    allow_scan: StrictBool = False
    timestamps: dict[AttributeName, TimestampFormName] = Field(default_factory=dict)
    keys: dict[AttributeName, str] = Field(default_factory=dict)
    expose_keys: StrictBool = True
    time_to_live: AttributeName | None = None
    hide_expired: StrictBool = False
    invalidate_from_stream: StrictBool = False

    @field_validator("required")
    @classmethod
    def _visible(cls, required: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        attributes = info.data.get("attributes")
        for index, name in enumerate(required):
            if attributes is not None and name not in attributes:
                raise validation_error("is not one of the table's attributes", index)
        return required

    @field_validator("keys")
    @classmethod
    def _composed(cls, keys: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        forms = info.data.get("timestamps", {})
        for attribute, text in keys.items():
            try:
                template = _template(attribute, text, forms)
            except ValueError as error:
                raise validation_error(str(error), attribute) from None
            for field in template.fields:
                if field.name in keys:
                    raise validation_error(f"{field.name} is a stored key itself", attribute)
                if field.name in forms and not FORMS[forms[field.name]].is_text:
                    raise validation_error(
                        f"{field.name} must be stored as text in a key", attribute
                    )
        return keys

    @field_validator("hide_expired")
    @classmethod
    def _has_time_to_live(cls, hide_expired: bool, info: ValidationInfo) -> bool:
        if hide_expired and not info.data.get("time_to_live"):
            raise validation_error(
                "needs time_to_live, the attribute that says when an item expires"
            )
        return hide_expired

    @field_validator("invalidate_from_stream")
    @classmethod
    def _has_shared_invalidations(cls, consumes: bool, info: ValidationInfo) -> bool:
        if consumes and info.context is not None and not info.context.get("may_consume_streams"):
            raise validation_error(
                "needs the setting redis_url, or single_replica: without Redis, other replicas do "
                "not get the invalidations of the one that consumes the stream"
            )
        return consumes

    @property
    def view(self) -> LogicalView:
        """The logical view that the options define."""
        return LogicalView(
            templates=tuple(_template(*key, self.timestamps) for key in self.keys.items()),
            timestamps={name: FORMS[form] for name, form in self.timestamps.items()},
            hidden=frozenset() if self.expose_keys else frozenset(self.keys),
            time_to_live=self.time_to_live if self.hide_expired else None,
        )


class TableConfig(TableOptions):
    """One table: its name and place in DynamoDB, and its options.

    Attributes:
        table: The name in DynamoDB, or the ARN, by which tables of other accounts are read.
        region: The AWS region, which is that of the ARN where there is one; None means the region
            of the process.
        role_arn: The IAM role to assume for reading; None means the role of the process.
    """

    table: TableReference
    region: _Region | None = Field(None, validate_default=True)
    role_arn: _RoleArn | None = None

    @field_validator("region")
    @classmethod
    def _known(cls, region: str | None, info: ValidationInfo) -> str | None:
        of_arn = region_of(info.data.get("table", ""))
        if of_arn is not None:
            if region not in (None, of_arn):
                raise validation_error(f"is {of_arn} by the table's ARN: leave it out")
            return of_arn
        if region is None and not _has_default_region(info):
            raise validation_error(f"is needed: {_SET_A_REGION}, or name one here")
        return region


def _template(attribute: str, text: str, forms: Mapping[str, str]) -> KeyTemplate:
    widths = {name: FORMS[form].width for name, form in forms.items() if FORMS[form].is_text}
    return KeyTemplate.parse(attribute, text, widths)


class CatalogConfig(StrictModel):  # type: ignore[no-redef]  # two fields read `discover`
    """All tables that can be read: named ones, and those discovered by a pattern.

    Attributes:
        tables: Configurations by logical name.
        discover: Patterns (`fnmatch`, case-sensitive) for the names of DynamoDB tables, which are
            served under their own names.
        discover_options: Options of discovered tables by pattern, if `discover` is a mapping. The
            first pattern that matches a table counts. Other tables have the defaults.
    """

    tables: dict[LogicalName, TableConfig] = Field(default_factory=dict)
    discover: Annotated[tuple[TablePattern, ...], AfterValidator(unique)] = Field(
        default=(), validate_default=True
    )
    discover_options: dict[TablePattern, TableOptions] = Field(
        default_factory=dict, validation_alias="discover"
    )

    @field_validator("discover", mode="before")
    @classmethod
    def _patterns(cls, discover: Any) -> Any:
        # A name that is not a pattern is reported as a name of the mapping.
        if isinstance(discover, Mapping):
            return tuple(name for name in discover if _is_pattern(name))
        return discover

    @field_validator("discover_options", mode="before")
    @classmethod
    def _options(cls, discover: Any) -> Any:
        if not isinstance(discover, Mapping):
            return {}  # a list of patterns
        return {name: {} if given is None else given for name, given in discover.items()}

    @field_validator("tables", mode="before")
    @classmethod
    def _with_table_names(cls, tables: Any) -> Any:
        if not isinstance(tables, Mapping):
            return tables
        return {name: _with_table(name, fields) for name, fields in tables.items()}

    @field_validator("discover")
    @classmethod
    def _not_empty(cls, discover: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if discover and not _has_default_region(info):
            raise validation_error(f"has no region: {_SET_A_REGION}")
        if not discover and info.data.get("tables") == {}:
            raise validation_error(
                "the catalog declares nothing: neither tables nor patterns to discover"
            )
        return discover

    def config_for(self, logical_name: str) -> TableConfig | None:
        """Return the configuration of a table by its name, else by pattern; None without either."""
        return self.tables.get(logical_name) or self._discovered(logical_name)

    def _discovered(self, name: str) -> TableConfig | None:
        # The name is checked first, because it may come from a caller and is sent to DynamoDB.
        if not _DYNAMODB_NAME.fullmatch(name):
            return None
        pattern = next((each for each in self.discover if fnmatchcase(name, each)), None)
        if pattern is None:
            return None
        options = self.discover_options.get(pattern)
        given = {} if options is None else options.model_dump(exclude_unset=True)
        return TableConfig(table=name, **given)


def _is_pattern(name: Any) -> bool:
    return isinstance(name, str) and _PATTERN.fullmatch(name) is not None


def _with_table(name: Any, fields: Any) -> Any:
    """Return a table's fields with the DynamoDB name, by default the logical name.

    A name with nothing below it stands for a table with the defaults.
    """
    if fields is None:
        return {"table": name}
    return {"table": name, **fields} if isinstance(fields, Mapping) else fields
