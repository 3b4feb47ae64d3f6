"""Asks DynamoDB which tables there are and what they look like."""

from __future__ import annotations

from collections.abc import Sequence

from dynamodb_processor_server.catalog.declaration import TableDeclaration
from dynamodb_processor_server.catalog.schema import TableSchema, parse_description
from dynamodb_processor_server.reading.clients import Clients
from dynamodb_processor_server.reading.failures import translate


class DynamoDBDescriber:
    """Describes tables with DescribeTable and lists them with ListTables."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    async def describe(self, name: str, declaration: TableDeclaration) -> TableSchema:
        """Return the schema of logical table `name`.

        Raises TableNotFound, BackendUnavailable, or BackendRefused.
        """
        try:
            client = await self._clients.client(declaration.region, declaration.role_arn)
            answer = await client.describe_table(TableName=declaration.table)
        except Exception as error:
            raise translate(error, name) from error
        return parse_description(answer["Table"])

    async def list_names(self) -> Sequence[str]:
        """Return the names of all tables in the default region, in order."""
        names: list[str] = []
        try:
            client = await self._clients.client()
            async for page in client.get_paginator("list_tables").paginate():
                names += page["TableNames"]
        except Exception as error:
            raise translate(error, "the list of tables") from error
        return sorted(names)
