"""Decides a caller's access to a table, when a call starts and again while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dynamodb_processor_server.auth.grants import Grant
from dynamodb_processor_server.auth.principal import Principal
from dynamodb_processor_server.catalog.catalog import Catalog
from dynamodb_processor_server.catalog.schema import Table
from dynamodb_processor_server.errors import (
    AccessChanged,
    ConfigurationError,
    PermissionDenied,
    PreconditionFailed,
)
from dynamodb_processor_server.query.expression.validation import ExpressionError
from dynamodb_processor_server.query.planning.key_types import check_key_types
from dynamodb_processor_server.query.planning.row_rule import RowRule
from dynamodb_processor_server.rpc.decode.violations import Violations


@dataclass(frozen=True, slots=True)
class TableAccess:
    """A table as one grant shows it, under one version of the catalog.

    `rule` is the grant's row rule, for expanded items of the table.
    """

    table: Table
    grant: Grant
    rule: RowRule | None
    version: int

    @property
    def token_scope(self) -> object:
        """The part of the access that page tokens are bound to, besides query and caller.

        A row rule may change the number of partitions that are read, and so the meaning of a
        cursor.
        """
        source = (self.table.schema.identity, self.table.config.role_arn)
        return source if self.rule is None else (source, self.rule)


_NO_TABLE: Final = Grant("")


def granted(principal: Principal, table: str) -> Grant:
    """Return a principal's grant of a table, which need not exist; any grant for an empty name.

    Raises PermissionDenied where the principal has none.
    """
    grant = principal.grant(table) if table else _NO_TABLE
    if grant is None:
        raise PermissionDenied(f"table {table[:255]} is not granted to {principal.name}")
    return grant


def restricted_to_grant(table: Table, grant: Grant) -> Table:
    """Return a table restricted to the attributes and indexes that a grant shows.

    Raises PermissionDenied where no attribute is left, or where the caller's values do not fit the
    row rule.
    """
    rule = grant.rule
    if rule is not None:
        try:
            check_key_types(rule.on_stored_items(table.view).condition, table.schema)
        except ExpressionError as error:
            if grant.bound:  # the rule may fit the values of other callers
                raise PermissionDenied(
                    f"the claims or the name of the caller do not fit the access rule of table "
                    f"{table.name}: ask its operator"
                ) from None
            raise ConfigurationError(f"a row rule does not fit {table.name}: {error}") from None
    table = table.restricted_to(grant.attributes, rule.fixed if rule else frozenset())
    if table.config.attributes == ():
        raise PermissionDenied(f"no attribute of table {table.name} is granted")
    return table


async def open_table(
    catalog: Catalog, principal: Principal, name: str, violations: Violations | None = None
) -> TableAccess:
    """Return a principal's access to the table that a request names.

    Raises, in this order, PermissionDenied before anything else is examined; InvalidRequest where
    the name is missing or `violations` has entries; and as `Catalog.table` does.
    """
    grant = granted(principal, name)
    violations = Violations() if violations is None else violations
    if not name:
        violations.add("table", "is required")
    violations.raise_any()
    return await access_under(catalog, name, grant)


async def access_under(catalog: Catalog, name: str, grant: Grant) -> TableAccess:
    """Return the access that a grant gives to a table of the current catalog.

    Raises as `Catalog.table`, and PermissionDenied where the grant leaves nothing of the table.
    """
    table = await catalog.table(name)
    return table_access(table, grant, catalog.version)


def table_access(table: Table, grant: Grant, version: int) -> TableAccess:
    """Return the access that a grant gives to a table, which `restricted_to_grant` may refuse."""
    table = restricted_to_grant(table, grant)
    rule = None if grant.rule is None else grant.rule.on_stored_items(table.view)
    return TableAccess(table, grant, rule, version)


def recheck(
    access: TableAccess, principal: Principal, catalog: Catalog, *, has_answered: bool
) -> TableAccess:
    """Return the access of a running call under the current grants and catalog.

    `has_answered` says that the caller already has a message with a token.

    Raises:
        PermissionDenied: The table is no longer granted to the caller.
        AccessChanged: The access has changed; the caller can repeat the call.
        PreconditionFailed: The access has changed, and the caller's token is not valid for it.
    """
    grant = granted(principal, access.table.name)
    if grant.version == access.grant.version and catalog.version == access.version:
        return access
    name = access.table.name
    table = catalog.known(name)
    if table is not None:
        now = table_access(table, grant, catalog.version)
        is_same_grant = grant.version == access.grant.version
        if is_same_grant and _visible_parts(now.table) == _visible_parts(access.table):
            return now
        if has_answered and now.token_scope != access.token_scope:
            text = f"{name}, or what you may read of it, has changed; start again without a token"
            raise PreconditionFailed("ACCESS_CHANGED", name, text)
    raise AccessChanged(f"{name}, or what you may read of it, has changed; repeat the call")


def _visible_parts(table: Table) -> tuple[object, ...]:
    """Return the properties of a table that a running call's responses depend on.

    Cache lifetimes and page sizes are not among them.
    """
    config, schema = table.config, table.schema
    shown = (config.attributes, config.allow_scan, table.view)
    return schema.identity, config.role_arn, shown, schema.paths
