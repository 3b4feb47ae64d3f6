"""DynamoDB requests of the catalog commands: table descriptions, TTL attributes, sample items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dynamodb_processor_server.catalog.table_arn import region_of
from dynamodb_processor_server.dynamodb.backend import Answer, Backend, Content, RequestTarget
from dynamodb_processor_server.dynamodb.clients import Clients
from dynamodb_processor_server.dynamodb.remedies import NO_CREDENTIALS, NO_REGION, remedy_for
from dynamodb_processor_server.dynamodb.table_describer import TableDescriber
from dynamodb_processor_server.errors import BackendRefused, BackendUnavailable, TableNotFound
from dynamodb_processor_server.query.expression.values import WireItem


class InventoryError(Exception):
    """DynamoDB did not answer a request; the text names the request and the remedy."""


class OperationDenied(InventoryError):
    """The credentials do not allow a request."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The first items of a scan, and the read units that it took."""

    items: Sequence[WireItem]
    read_units: float


class TableInventory:
    """Describes tables with the credentials of the process.

    A table is given by its name, in the region of the process, or by its ARN. Every method raises
    InventoryError.
    """

    def __init__(self, clients: Clients, backend: Backend) -> None:
        self._clients = clients
        self._backend = backend

    async def names(self) -> Sequence[str]:
        """Return the names of all tables, in order."""
        try:
            return await TableDescriber(self._backend).list_names()
        except (BackendRefused, BackendUnavailable) as error:
            raise await self._explained(error, "ListTables", None) from None

    async def describe(self, table: str) -> Mapping[str, Any]:
        """Return the `Table` of a DescribeTable answer."""

        async def ask(client: Any) -> Content:
            answer: Content = await client.describe_table(TableName=table)
            return answer

        description: Mapping[str, Any] = (await self._ask(table, "DescribeTable", ask))["Table"]
        return description

    async def time_to_live(self, table: str) -> str | None:
        """Return the table's TTL attribute, None if TTL is not enabled."""

        async def ask(client: Any) -> Content:
            answer: Content = await client.describe_time_to_live(TableName=table)
            return answer

        found = await self._ask(table, "DescribeTimeToLive", ask)
        description = found.get("TimeToLiveDescription", {})
        enabled = description.get("TimeToLiveStatus") in ("ENABLED", "ENABLING")
        return description.get("AttributeName") if enabled else None

    async def sample(self, table: str, limit: int) -> Sample:
        """Return the first items of a scan: `limit` at most, and no more than 1 MB."""

        async def ask(client: Any) -> Content:
            answer: Content = await client.scan(
                TableName=table, Limit=limit, ReturnConsumedCapacity="TOTAL"
            )
            return answer

        answer = await self._answer(table, "Scan", ask)
        return Sample(answer.content["Items"], answer.read_units)

    async def _ask(self, table: str, operation: str, request: Any) -> Content:
        return (await self._answer(table, operation, request)).content

    async def _answer(self, table: str, operation: str, request: Any) -> Answer:
        region = region_of(table)
        try:
            target = RequestTarget(table, region, operation=operation, physical=table)
            return await self._backend.call_control_plane(target, request)
        except TableNotFound:
            raise InventoryError(f"table {table} does not exist") from None
        except (BackendRefused, BackendUnavailable) as error:
            raise await self._explained(error, operation, region) from None

    async def _explained(
        self, error: Exception, operation: str, region: str | None
    ) -> InventoryError:
        """Return an error that names the cause and the setting that an operator can change."""
        remedy = remedy_for(error)
        if remedy in {NO_REGION, NO_CREDENTIALS}:
            return InventoryError(remedy)
        if "AccessDenied" in str(error):
            return OperationDenied(f"the credentials do not allow dynamodb:{operation}")
        endpoint = await self._clients.endpoint(region)
        reason = remedy or error
        return InventoryError(f"DynamoDB in {endpoint} did not answer {operation}: {reason}")
