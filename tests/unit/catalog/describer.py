"""What DynamoDB says of tables, in memory, and catalogs of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from dynamodb_processor_server.catalog.config import CatalogConfig, TableConfig
from dynamodb_processor_server.catalog.schema import TableSchema
from dynamodb_processor_server.errors import TableNotFound
from tests.support.datasets import Index, Schema
from tests.unit.query.tables import make_schema


class Describer:
    """DynamoDB's tables, by their real names.

    `error` fails every question, `errors` those about single tables, by their real names.
    `asked` are the names that were described, `listed` is how often all were listed.
    """

    def __init__(self, *names: str) -> None:
        self.tables = {name: schema_of(name) for name in names}
        self.error: Exception | None = None
        self.errors: dict[str, Exception] = {}
        self.asked: list[str] = []
        self.listed = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.at_once = 0
        self.most_at_once = 0

    async def describe(self, name: str, declaration: TableConfig) -> TableSchema:
        """Return the schema of a table."""
        self.asked.append(declaration.table)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        await self.gate.wait()
        self.at_once -= 1
        if self.error is not None:
            raise self.error
        if declaration.table in self.errors:
            raise self.errors[declaration.table]
        if declaration.table not in self.tables:
            raise TableNotFound(f"table {name} does not exist")
        return self.tables[declaration.table]

    async def list_names(self) -> Sequence[str]:
        """Return the names of all tables."""
        self.listed += 1
        await asyncio.sleep(0)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return sorted(self.tables)


def schema_of(name: str, *indexes: Index) -> TableSchema:
    """Return the schema of a table with one key attribute."""
    return make_schema(Schema(name, "id", None, indexes, {"id": "S", "user": "S"}))


def declare(discover: Iterable[str] = (), **tables: dict[str, Any]) -> CatalogConfig:
    """Return a catalog of tables, by logical name."""
    return CatalogConfig.model_validate({"tables": tables, "discover": tuple(discover)})


EVENTS = {"table": "events-prod"}
