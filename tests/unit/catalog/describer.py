"""An in-memory describer of tables, and catalogs of its tables."""

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
    """DynamoDB's tables by their names in DynamoDB.

    `error` fails every call, `errors` the descriptions of single tables, by name. `described` are
    the names that were described; `list_count` is how often all tables were listed. While `gate` is
    cleared, calls wait. `max_concurrent` is the highest number of concurrent descriptions.
    """

    def __init__(self, *names: str) -> None:
        self.tables = {name: schema_of(name) for name in names}
        self.error: Exception | None = None
        self.errors: dict[str, Exception] = {}
        self.described: list[str] = []
        self.list_count = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.concurrent = 0
        self.max_concurrent = 0

    async def describe(self, name: str, config: TableConfig) -> TableSchema:
        """Return the schema of a table."""
        self.described.append(config.table)
        self.concurrent += 1
        self.max_concurrent = max(self.max_concurrent, self.concurrent)
        await asyncio.sleep(0)
        await self.gate.wait()
        self.concurrent -= 1
        if self.error is not None:
            raise self.error
        if config.table in self.errors:
            raise self.errors[config.table]
        if config.table not in self.tables:
            raise TableNotFound(f"table {name} does not exist")
        return self.tables[config.table]

    async def list_names(self) -> Sequence[str]:
        """Return the names of all tables."""
        self.list_count += 1
        await asyncio.sleep(0)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return sorted(self.tables)


def schema_of(name: str, *indexes: Index) -> TableSchema:
    """Return the schema of a table with one key attribute."""
    return make_schema(Schema(name, "id", None, indexes, {"id": "S", "user": "S"}))


def catalog_config(discover: Iterable[str] = (), **tables: dict[str, Any]) -> CatalogConfig:
    """Return a catalog of tables, by logical name."""
    return CatalogConfig.model_validate({"tables": tables, "discover": tuple(discover)})


EVENTS = {"table": "events-prod"}
