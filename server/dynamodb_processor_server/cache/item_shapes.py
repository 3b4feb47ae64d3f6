"""The shapes of cached items: the part of a table's items that requests get, and its form.

Requests share cached items if they read the same part of an item, as the same role, and return it
in the same form. A row rule is no part of a shape: it is evaluated for each caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf
from typing import Final, NamedTuple

from cachetools import LRUCache

from dynamodb_processor_server.batch_reader import BatchGetRequest
from dynamodb_processor_server.cache.item_entry import ItemContent, ItemKey
from dynamodb_processor_server.catalog.logical_view import expiry, has_expired
from dynamodb_processor_server.catalog.schema import Table
from dynamodb_processor_server.query.expression import canonical
from dynamodb_processor_server.query.expression.values import (
    WireItem,
    WireValue,
    from_wire,
    number_text,
    parse_number,
)
from dynamodb_processor_server.query.planning.expression_writer import requested_paths
from dynamodb_processor_server.query.planning.plan import ResultProjection
from dynamodb_processor_server.query.planning.projection import apply_projection, project
from dynamodb_processor_server.query.planning.tags import Tag, tags_read_with_item

_MAX_SHAPES: Final = 1_000
_DIGEST_BYTES: Final = 16
#: Returns the `Item` message of an item, None for an item of which it has no exact one.
Encode = Callable[[WireItem], bytes | None]
#: Returns the item of a message; raises ValueError where the message is not exact.
Decode = Callable[[bytes], WireItem]


class ItemTimes(NamedTuple):
    """When an item was read, and the writes that it shows; see `ItemContent`."""

    read_at: float
    read_until: float
    shows_until: float = -inf


class ItemShape:
    """A part of a table's items, in one form.

    `number` is its own in this process. `digest` identifies it in every process. `is_whole` means
    that it is made of all attributes of an item.
    """

    def __init__(self, number: int, digest: bytes, request: BatchGetRequest) -> None:
        self.number = number
        self.digest = digest
        self.table = request.table
        self.is_whole = "ProjectionExpression" not in request.request
        self._paths = requested_paths(request.request)
        self._projection = request.projection
        # Then callers get the item as DynamoDB returns it.
        self._is_plain = request.projection == ResultProjection()
        self._names = request.table.schema.base.cursor_attributes

    def key(self, item: WireItem) -> ItemKey:
        """Return the cache's key of an item, given at least its primary key."""
        return self.number, *(_key_value(item[name]) for name in self._names)

    def content(
        self, item: WireItem | None, encode: Encode, times: ItemTimes
    ) -> ItemContent | None:
        """Return an item that was read, as it is cached; None if it cannot be cached.

        The item is expanded, and has the attributes of the shape.
        """
        until, message, source = None, None, b""
        if item is not None:
            stored = self.table.view.stored(item)
            attribute = self.table.config.time_to_live
            until = None if attribute is None else expiry(stored.get(attribute), times.read_at)
            message = encode(stored)
            if message is not None and not self._is_plain:
                source, message = message, encode(apply_projection(item, self._projection))
            if message is None:
                return None
        read_at, read_until, shown = times
        return ItemContent(message, source, read_at, read_until, until, shows_until=shown)

    def from_image(self, stored: WireItem, now: float) -> WireItem | None:
        """Return the shape's part of a whole stored item, expanded; None if it is hidden now."""
        part = project(stored, self._paths) if self._paths else stored
        item = self.table.view.expanded(part, now)
        return None if has_expired(item) else item

    def decoded(self, content: ItemContent, decode: Decode, now: float) -> WireItem | None:
        """Return a cached item, expanded; None if there is no such item.

        Raises ValueError if the message cannot be decoded.
        """
        if content.message is None:
            return None
        return self.table.view.expanded(decode(content.source or content.message), now)


class ItemShapes:
    """The shapes that are in use. When there are too many, the one not used for longest is dropped.

    The items of a dropped shape are not found again, nor refreshed.
    """

    def __init__(self) -> None:
        self._shapes: LRUCache[bytes, ItemShape] = LRUCache(_MAX_SHAPES)
        self._made = 0
        self._last: tuple[object, ItemShape] | None = None

    def of(self, request: BatchGetRequest) -> ItemShape:
        """Return the shape of a request's items."""
        # The parts of a batch share these parameters.
        if self._last is not None and self._last[0] is request.request:
            return self._last[1]
        shape = self._find(request)
        self._last = request.request, shape
        return shape

    def _find(self, request: BatchGetRequest) -> ItemShape:
        table = request.table
        config = table.config
        source = table.name, table.schema.identity, config.role_arn, table.view
        digest = canonical.digest(
            (
                *source,
                *(dict(request.request), request.projection),
                *(config.time_to_live, str(config.cache_ttl)),
            )
        )[:_DIGEST_BYTES]
        shape = self._shapes.get(digest)
        if shape is None:
            self._made += 1
            shape = self._shapes[digest] = ItemShape(self._made, digest, request)
        return shape

    def of_table(self, table: Table) -> Iterable[ItemShape]:
        """Return the shapes of a table, under all its names in the catalog."""
        location = table.schema.identity.location
        return [
            shape
            for shape in list(self._shapes.values())
            if shape.table.schema.identity.location == location
        ]


def item_tags(table: Table, item: WireItem) -> tuple[Tag, ...]:
    """Return the tags of an item, given at least its primary key; the last one is its own."""
    key = table.schema.base.key
    values = [tuple(from_wire(item[a.name]) for a in part) for part in (key.partition, key.sort)]
    return tags_read_with_item(table.schema.identity, *values)


def _key_value(value: WireValue) -> str | bytes:
    ((kind, data),) = value.items()
    return number_text(parse_number(data)) if kind == "N" else data
