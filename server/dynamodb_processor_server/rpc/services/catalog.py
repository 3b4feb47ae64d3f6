"""Implements `CatalogService`: the tables that a caller may read, with their keys and indexes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Any, Final

import grpc
from google.protobuf.duration_pb2 import Duration

from dynamodb_processor.v1 import catalog_service_pb2 as pb
from dynamodb_processor_server.catalog.catalog import Catalog
from dynamodb_processor_server.catalog.schema import (
    AccessPath,
    KeyAttribute,
    KeySchema,
    PathKind,
    Table,
)
from dynamodb_processor_server.errors import InvalidRequest
from dynamodb_processor_server.query.planning.row_rule import RowRule
from dynamodb_processor_server.rpc.call_context import current_call
from dynamodb_processor_server.rpc.granted_names import GrantedNames
from dynamodb_processor_server.rpc.table_calls import TableCalls

_DEFAULT_PAGE_SIZE: Final = 100
_MAX_PAGE_SIZE: Final = 1_000
_KEY_TYPES: Final = {
    "S": pb.KEY_TYPE_STRING,
    "N": pb.KEY_TYPE_NUMBER,
    "B": pb.KEY_TYPE_BINARY,
}
_INDEX_KINDS: Final = {
    PathKind.LOCAL: pb.INDEX_KIND_LOCAL,
    PathKind.GLOBAL: pb.INDEX_KIND_GLOBAL,
}


class CatalogServicer:
    """Describes the tables that the caller may read."""

    def __init__(self, catalog: Catalog, calls: TableCalls) -> None:
        self._catalog = catalog
        self._calls = calls
        self._granted = GrantedNames()

    async def ListTables(  # noqa: N802 - the method's name in the contract
        self, request: pb.ListTablesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListTablesResponse:
        """List granted tables by name; a page token is the last name of the previous page."""
        if request.page_size < 0:
            raise InvalidRequest.of("page_size", f"must not be negative, is {request.page_size}")
        caller = current_call().caller
        size = min(request.page_size or _DEFAULT_PAGE_SIZE, _MAX_PAGE_SIZE)
        names = self._granted.of(caller, await self._catalog.names())
        first = bisect_right(names, request.page_token) if request.page_token else 0
        page = names[first : first + size]
        more = first + size < len(names)
        return pb.ListTablesResponse(
            tables=[pb.TableSummary(name=n, description=self._description(n)) for n in page],
            next_page_token=page[-1] if more else "",
        )

    async def GetTable(  # noqa: N802 - the method's name in the contract
        self, request: pb.GetTableRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetTableResponse:
        """Describe one table."""
        access = await self._calls.open(current_call(), request.table)
        return pb.GetTableResponse(table=_table(access.table, access.grant.rule))

    def _description(self, name: str) -> str:
        declaration = self._catalog.config.config_for(name)
        return declaration.description if declaration else ""


def _table(table: Table, rule: RowRule | None) -> pb.Table:
    """Describe a table as far as it is granted."""
    declaration = table.config
    expires = table.view.time_to_live
    ttl = Duration()
    ttl.FromNanoseconds(int(declaration.cache_ttl * 1e9))
    indexes = sorted(filter(table.may_name, table.schema.paths[1:]), key=lambda path: path.label)
    return pb.Table(
        name=table.name,
        description=declaration.description,
        key=_key(table.schema.base.key, table),
        indexes=[_index(path, table) for path in indexes],
        visible_attributes=declaration.attributes or (),
        required_attributes=filter(table.may_show, declaration.required),
        default_page_size=declaration.page_size.default,
        max_page_size=declaration.page_size.maximum,
        cache_ttl=ttl,
        allow_scan=declaration.allow_scan and (rule is None or rule.as_filter),
        timestamp_attributes=sorted(filter(table.may_show, table.view.timestamps)),
        time_to_live_attribute=expires if expires and table.may_show(expires) else "",
    )


def _index(path: AccessPath, table: Table) -> pb.Index:
    return pb.Index(
        name=path.label,
        kind=_INDEX_KINDS[path.kind],
        key=_key(path.key, table),
        projects_all=path.projected is None,
        projected_attributes=sorted(filter(table.may_show, path.projected or ())),
    )


def _key(key: KeySchema, table: Table) -> pb.KeySchema:
    return pb.KeySchema(
        partition=_key_attributes(key.partition, table), sort=_key_attributes(key.sort, table)
    )


def _key_attributes(attributes: Iterable[KeyAttribute], table: Table) -> list[pb.KeyAttribute]:
    shown = (
        pb.KeyAttribute(
            name=attribute.name if table.may_show(attribute.name) else "",
            type=_KEY_TYPES[attribute.type],
            template=_template(attribute, table),
        )
        for attribute in attributes
    )
    return [attribute for attribute in shown if attribute.name or attribute.template]


def _template(attribute: KeyAttribute, table: Table) -> str:
    if attribute.template is None or not all(map(table.may_show, attribute.fields)):
        return ""
    return str(attribute.template)
