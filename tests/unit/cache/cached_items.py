"""A table of single items with a cache in front of it, and a clock that is set by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any, Final

from dynamodb_processor.v1.value_pb2 import Item
from dynamodb_processor_server.batch_reader import BatchGetRequest, BatchGetResult
from dynamodb_processor_server.cache.generations import Generations
from dynamodb_processor_server.cache.item_cache import ItemCache
from dynamodb_processor_server.cache.item_reader import CachingItemReader
from dynamodb_processor_server.cache.item_refresh import ItemChange, ItemRefresh
from dynamodb_processor_server.cache.page_store import PageStore
from dynamodb_processor_server.catalog.schema import Table
from dynamodb_processor_server.dynamodb.item_decoding import decode_item
from dynamodb_processor_server.dynamodb.item_encoding import exact_message
from dynamodb_processor_server.errors import DeadlineExceeded
from dynamodb_processor_server.query.expression.parser import parse_expression, parse_path
from dynamodb_processor_server.query.expression.values import Value, WireItem
from dynamodb_processor_server.query.planning.expression_writer import requested_paths
from dynamodb_processor_server.query.planning.projection import project
from dynamodb_processor_server.query.planning.request_builder import build_batch
from dynamodb_processor_server.query.planning.row_rule import RowRule
from dynamodb_processor_server.query.planning.tags import (
    tags_of_items,
    tags_of_partitions,
    tags_of_table,
)
from dynamodb_processor_server.reader import CachePolicy, Caller, ReadOptions, Usage
from tests.support.messages import from_item
from tests.support.reads import CALLER, make_options
from tests.unit.dynamodb.small_table import SCHEMA, make_items
from tests.unit.query.tables import make_table

TTL: Final = 300.0
TABLE: Final = make_table(SCHEMA)


@dataclass
class _Invalidations:
    """Stands for a cache of all replicas, whose invalidations may be late."""

    may_serve_local: bool = True


class ItemTable:
    """A table of ten items of device `d`, a caching reader of it, and a clock.

    A read takes `seconds`, and returns the items at its beginning; of each request the first `most`
    keys are read. `requests` are the numbers of the items that were requested, `consistent` says
    which of the requests were so. Writes until `followed` are known to have reached the cache.
    """

    def __init__(
        self,
        *,
        table: Table = TABLE,
        jitter: float = 0.0,
        wait: float = 2.0,
        max_bytes: int = 1_000_000,
        clock_skew: float = 0.0,
    ) -> None:
        self.now = 1_000.0
        self.seconds = 0.0
        self.followed = -inf
        self.most = 100
        self.error: Exception | None = None
        self.table = table
        self.items: dict[int, WireItem] = dict(enumerate(make_items(10)))
        self.requests: list[list[int]] = []
        self.consistent: list[bool] = []
        self.store = PageStore(max_bytes, lambda: self.now)
        self.generations = Generations(lambda: self.now)
        self.others = _Invalidations()
        others: Any = self.others
        self.cache = ItemCache(
            self.store,
            self.generations,
            exact_message,
            decode_item,
            shared=others,
            now=lambda: self.now,
            jitter=lambda: jitter,
            followed_until=lambda _: self.followed,
            clock_skew=clock_skew,
        )
        self.reader = CachingItemReader(self, self.cache, wait)
        self.refreshes = ItemRefresh(self.cache)

    async def get_items(
        self, request: BatchGetRequest, options: ReadOptions, caller: Caller
    ) -> BatchGetResult:
        """Read items as DynamoDB would; no row rule is known here."""
        assert request.rule is None
        numbers = [int(key["seq"]["N"]) for key in request.keys][: self.most]
        self.requests.append(numbers)
        self.consistent.append(request.consistent)
        paths = requested_paths(request.request)
        stored = [self.items.get(number) for number in numbers]
        began, view = self.now, request.table.view
        items = {
            index: item and view.expanded(project(item, paths) if paths else item, began)
            for index, item in enumerate(stored)
        }
        try:
            async with asyncio.timeout_at(options.hard_deadline):
                await asyncio.sleep(self.seconds)
        except TimeoutError:
            raise DeadlineExceeded("too late") from None
        if self.error is not None:
            raise self.error
        return BatchGetResult(items, Usage(len(items), 0.5 * len(items), 1), began)

    def request(
        self,
        numbers: Sequence[int],
        *,
        projection: Sequence[str] = (),
        rule: str = "",
        consistent: bool = False,
    ) -> BatchGetRequest:
        """Return the request for some items."""
        keys = tuple({"device": {"S": "d"}, "seq": {"N": str(number)}} for number in numbers)
        row_rule = RowRule(parse_expression(rule, {}), as_filter=True) if rule else None
        paths = tuple(map(parse_path, projection))
        parts = build_batch(paths, self.table, row_rule, consistent=consistent)
        return BatchGetRequest(self.table, keys, *parts, consistent, row_rule)

    async def get(
        self, *numbers: int, cache: CachePolicy | None = None, seconds: float = 60.0, **how: Any
    ) -> BatchGetResult:
        """Get items by their numbers."""
        options = make_options(seconds=seconds)
        if cache is not None:
            options = options._replace(cache=cache)
        return await self.reader.get_items(self.request(numbers, **how), options, CALLER)

    def write(self, number: int, value: int) -> None:
        """Change the value of an item."""
        self.items[number] = {**self.items[number], "value": {"N": str(value)}}

    def invalidate(self, device: str = "d") -> None:
        """Invalidate a partition of the table, as a call does."""
        identity = self.table.schema.identity
        partitions = [(self.table.schema.base, (Value("S", device),))]
        self.generations.invalidate(tags_of_partitions(identity, partitions))
        self.generations.invalidate(tags_of_items(identity, partitions))

    def invalidate_index(self) -> None:
        """Invalidate a partition of a global index, and no partition of the table."""
        identity = self.table.schema.identity
        (index,) = [path for path in self.table.schema.paths if path.index == "by_level"]
        partitions = [(index, (Value("S", "low"),))]
        self.generations.invalidate(tags_of_items(identity, partitions))

    def invalidate_table(self) -> None:
        """Invalidate the whole table."""
        self.generations.invalidate(tags_of_table(self.table.schema.identity))

    def change(
        self, number: int, sequence: int, created: float, *, removed: bool = False
    ) -> ItemChange:
        """Return the record of a write that left an item as it is now, or removed it."""
        key = {"device": {"S": "d"}, "seq": {"N": str(number)}}
        return ItemChange(key, None if removed else self.items[number], sequence, created)

    def refresh(self, *changes: ItemChange) -> None:
        """Take the records of writes into account."""
        prepared = self.refreshes.prepare(self.table, changes)
        self.generations.invalidate(prepared.tags)
        self.refreshes.commit(prepared)

    @property
    def reads(self) -> int:
        """The number of items that were requested from the table."""
        return sum(map(len, self.requests))


def values(result: BatchGetResult) -> dict[int, int | None]:
    """Return the value of each item that was returned, and check the messages that came with it."""
    for index, message in result.messages.items():
        item = result.items[index]
        assert item is not None
        shown = from_item(Item.FromString(message))
        assert shown == {name: item[name] for name in shown}
    return {
        index: None if item is None else int(item["value"]["N"])
        for index, item in result.items.items()
    }


def replicated(table: Table = TABLE) -> Table:
    """Return the table with replicas in other regions."""
    return replace(table, schema=replace(table.schema, replicated=True))
