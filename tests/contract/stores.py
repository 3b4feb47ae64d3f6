"""The same table behind each implementation of the Reader."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import Any

from dynamodb_processor_server.cache.generations import Generations
from dynamodb_processor_server.cache.page_store import PageStore
from dynamodb_processor_server.cache.reader import cached_reader
from dynamodb_processor_server.catalog.schema import Table
from dynamodb_processor_server.dynamodb.backend import Backend
from dynamodb_processor_server.dynamodb.reader import DynamoDBReader
from dynamodb_processor_server.limits.admission import Admission, AdmissionReader
from dynamodb_processor_server.reader import PageReader
from tests.contract.readings import SCHEMA, make_items
from tests.support.dynamodb import put_items
from tests.support.fake_reader import InMemoryReader


class Store(ABC):
    """A table to read and write, and Readers of it."""

    def __init__(self, table: Table) -> None:
        self.table = table

    @abstractmethod
    def reader(self, max_page_bytes: int = 1_000_000) -> PageReader:
        """Return a Reader of the table."""

    @abstractmethod
    def put(self, item: dict[str, Any]) -> None:
        """Write an item."""

    @abstractmethod
    def remove(self, item: dict[str, Any]) -> None:
        """Remove an item."""


class MemoryStore(Store):
    """The table of the fake Reader."""

    def __init__(self, table: Table) -> None:
        super().__init__(table)
        self._items = make_items()

    def reader(self, max_page_bytes: int = 1_000_000) -> PageReader:
        """Return a fake."""
        reader = InMemoryReader((), max_page_bytes)
        reader.items = self._items
        return reader

    def put(self, item: dict[str, Any]) -> None:
        """Write an item."""
        self._items.append(item)

    def remove(self, item: dict[str, Any]) -> None:
        """Remove an item."""
        self._items.remove(item)


class DynamoDBStore(Store):
    """A table in DynamoDB Local; `cached` puts admission and the cache above it."""

    def __init__(self, table: Table, client: Any, backend: Backend, *, cached: bool) -> None:
        super().__init__(table)
        self._client = client
        self._backend = backend
        self._cached = cached

    def reader(self, max_page_bytes: int = 1_000_000) -> PageReader:
        """Return a reader of DynamoDB Local."""
        reader = DynamoDBReader(self._backend, max_page_bytes)
        if not self._cached:
            return reader
        store = PageStore(10_000_000, time.time)
        admitted = AdmissionReader(reader, Admission(100, 0))
        return cached_reader(admitted, store, Generations(), read_timeout=20.0)

    def put(self, item: dict[str, Any]) -> None:
        """Write an item."""
        put_items(self._client, SCHEMA.table, [item])

    def remove(self, item: dict[str, Any]) -> None:
        """Remove an item."""
        key = {name: item[name] for name in SCHEMA.keys}
        self._client.delete_item(TableName=SCHEMA.table, Key=key)
