"""The same table behind each implementation of the Reader."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeAlias

from dynamodb_processor_server.cache.generations import Generations
from dynamodb_processor_server.cache.item_cache import ItemCache
from dynamodb_processor_server.cache.item_reader import CachingItemReader
from dynamodb_processor_server.cache.page_store import PageStore
from dynamodb_processor_server.cache.quarantine import DEFAULT_QUARANTINE
from dynamodb_processor_server.catalog.schema import Table
from dynamodb_processor_server.dynamodb.backend import Backend
from dynamodb_processor_server.dynamodb.item_decoding import decode_item
from dynamodb_processor_server.dynamodb.item_encoding import exact_message
from dynamodb_processor_server.dynamodb.item_reader import DynamoDBItemReader
from dynamodb_processor_server.dynamodb.reader import DynamoDBReader
from dynamodb_processor_server.limits.admission import Admission, AdmissionReader
from dynamodb_processor_server.reader import PageReader
from tests.contract.readings import SCHEMA, make_items
from tests.support.dynamodb import put_items
from tests.support.fake_reader import InMemoryReader

#: Makes the cache in front of a reader, with the arguments of `cached_reader`.
Cache: TypeAlias = Callable[..., PageReader]


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
    """A table in DynamoDB Local; `cache` makes the cache above it, if there is one."""

    def __init__(
        self, table: Table, client: Any, backend: Backend, cache: Cache | None = None
    ) -> None:
        super().__init__(table)
        self._client = client
        self._backend = backend
        self._cache = cache

    def reader(self, max_page_bytes: int = 1_000_000) -> PageReader:
        """Return a reader of DynamoDB Local."""
        if self._cache is None:
            return DynamoDBReader(self._backend, max_page_bytes)
        store, generations = PageStore(10_000_000, time.time), Generations()
        items = CachingItemReader(
            DynamoDBItemReader(self._backend),
            ItemCache(store, generations, exact_message, decode_item),
            wait=2.0,
        )
        reader = DynamoDBReader(self._backend, max_page_bytes, cached_items=items)
        admitted = AdmissionReader(reader, Admission(100, 0))
        return self._cache(admitted, store, generations, 20.0, DEFAULT_QUARANTINE)

    def put(self, item: dict[str, Any]) -> None:
        """Write an item."""
        put_items(self._client, SCHEMA.table, [item])

    def remove(self, item: dict[str, Any]) -> None:
        """Remove an item."""
        key = {name: item[name] for name in SCHEMA.keys}
        self._client.delete_item(TableName=SCHEMA.table, Key=key)
