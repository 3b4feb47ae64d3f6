"""The tables that a principal may read, as files of keys and of roles list them."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BeforeValidator,
    SerializerFunctionWrapHandler,
    StrictBool,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_serializer,
)

from dynamodb_processor_server.auth.grant_template import GrantTemplate
from dynamodb_processor_server.auth.grants import shadowed_by
from dynamodb_processor_server.auth.rule_template import RuleTemplate
from dynamodb_processor_server.catalog.config import AttributeName, TablePattern
from dynamodb_processor_server.config_files import StrictModel, non_empty, unique, validation_error
from dynamodb_processor_server.query.expression.parser import ExpressionError


class TableEntry(StrictModel):
    """A granted table, or several tables by pattern; a bare name grants a table unrestricted.

    Attributes:
        table: A logical name or a case-sensitive `fnmatch` pattern.
        attributes: The attributes that may be named and seen; None means all that the table shows.
        rule: A condition in the language of `expression`, without parameters, that items must meet;
            None means all items. It may have variables, such as `${principal}`.
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
                RuleTemplate(rule)
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

    @cached_property
    def template(self) -> GrantTemplate:
        """The grant that the entry stands for, whose rule may have variables."""
        rule = None if self.rule is None else RuleTemplate(self.rule, self.rule_as_filter)
        attributes = None if self.attributes is None else frozenset(self.attributes)
        return GrantTemplate(self.table, attributes, rule)


_PATTERN: Final[TypeAdapter[str]] = TypeAdapter(TablePattern)


def _from_name(entry: Any) -> Any:
    """Return the entry for a bare name; other values unchanged."""
    if not isinstance(entry, str):
        return entry
    try:
        return {"table": _PATTERN.validate_python(entry)}
    except ValidationError as error:  # the operator wrote no field `table` to name in the error
        raise validation_error(error.errors()[0]["msg"]) from None


def _none_is_shadowed(tables: tuple[TableEntry, ...]) -> tuple[TableEntry, ...]:
    """Validate that each entry may apply to a table, beside those before it."""
    unique(tuple(entry.table for entry in tables))
    grants = [entry.template.sample for entry in tables]
    for index in range(len(grants)):
        earlier = shadowed_by(grants, index)
        if earlier is not None:
            raise validation_error(
                f"never counts: entry {earlier}, {grants[earlier].table}, matches all that it "
                "does; list the narrower pattern first",
                index,
            )
    return tables


#: A list of tables. An entry of a table's own name applies before patterns, and the first matching
#: pattern before later ones; entries are never combined.
TableEntries = Annotated[
    tuple[Annotated[TableEntry, BeforeValidator(_from_name)], ...],
    AfterValidator(non_empty),
    AfterValidator(_none_is_shadowed),
]
