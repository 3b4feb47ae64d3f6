"""Lists DynamoDB's tables and describes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dynamodb_processor_server.catalog.config import TableConfig
from dynamodb_processor_server.catalog.description import DescriptionError, parse_description
from dynamodb_processor_server.catalog.schema import TableSchema
from dynamodb_processor_server.dynamodb.backend import Backend, Content, RequestTarget
from dynamodb_processor_server.dynamodb.response_parser import CorruptAnswer
from dynamodb_processor_server.errors import BackendUnavailable, TableNotFound

_ALL = RequestTarget("the list of tables", operation="ListTables")


class TableDescriber:
    """Describes tables with DescribeTable and lists them with ListTables."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def describe(self, name: str, config: TableConfig) -> TableSchema:
        """Return the schema of logical table `name`.

        Raises TableNotFound, also for a table that is being deleted, which DynamoDB no longer reads
        and may describe without its key; BackendUnavailable, or BackendRefused.
        """
        source = ("", "")

        async def ask(client: Any) -> Content:
            nonlocal source
            source = (client.meta.endpoint_url, client.meta.region_name)
            return _with("Table", await client.describe_table(TableName=config.table))

        target = _target(name, config, "DescribeTable")
        answer = await self._backend.call_control_plane(target, ask)
        description = answer.content["Table"]
        if description.get("TableStatus") == "DELETING":
            raise TableNotFound(f"table {name} is being deleted")
        try:
            return parse_description(description, *source)
        except DescriptionError as error:
            raise BackendUnavailable(f"{name} cannot be described at the moment") from error

    async def attribute_names(
        self, config: TableConfig, names: Sequence[str], limit: int
    ) -> set[str]:
        """Return those of `names` that an attribute of the table's first items has.

        Reads `limit` items at most, and no more than 1 MB. Raises as `describe`.
        """
        aliases = {f"#{number}": name for number, name in enumerate(names)}

        async def ask(client: Any) -> Content:
            answer = await client.scan(
                TableName=config.table,
                Limit=limit,
                ProjectionExpression=", ".join(aliases),
                ExpressionAttributeNames=aliases,
            )
            return _with("Items", answer)

        target = _target(config.table, config, "Scan")
        answer = await self._backend.call_control_plane(target, ask)
        return {name for item in answer.content["Items"] for name in item}

    async def list_names(self) -> Sequence[str]:
        """Return the names of all tables in the default region, in order."""
        names: list[str] = []
        start: dict[str, str] | None = {}
        while start is not None:
            page = (await self._backend.call_control_plane(_ALL, _listing(start))).content
            names += page["TableNames"]
            last = page.get("LastEvaluatedTableName")
            start = None if last is None else {"ExclusiveStartTableName": last}
        return sorted(names)


def _target(name: str, config: TableConfig, operation: str) -> RequestTarget:
    return RequestTarget(
        name, config.region, config.role_arn, operation=operation, physical=config.table
    )


def _listing(start: dict[str, str]) -> Any:
    async def ask(client: Any) -> Content:
        return _with("TableNames", await client.list_tables(**start))

    return ask


def _with(name: str, content: Content) -> Content:
    """Return a response if it has a member; botocore parses any JSON object."""
    if name not in content:
        raise CorruptAnswer(f"a response lacks {name}")
    return content
