"""Answers `BatchGetItems` calls of which all items are cached, without planning a read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

from dynamodb_processor.v1.query_pb2 import PageStats
from dynamodb_processor.v1.query_service_pb2 import BatchGetItemsRequest, BatchGetItemsResponse
from dynamodb_processor.v1.value_pb2 import Item
from dynamodb_processor_server.auth.principal import Principal
from dynamodb_processor_server.batch_reader import BatchGetRequest
from dynamodb_processor_server.cache.item_cache import ItemCache
from dynamodb_processor_server.cache.item_entry import CachedItem, ItemKey
from dynamodb_processor_server.cache.item_shapes import ItemShape
from dynamodb_processor_server.catalog.catalog import Catalog
from dynamodb_processor_server.query.freshness_token import FreshnessBound
from dynamodb_processor_server.reader import DEFAULT_CACHE_POLICY, CachePolicy, CacheStatus
from dynamodb_processor_server.rpc.call_context import Call
from dynamodb_processor_server.rpc.call_limits import CallLimits
from dynamodb_processor_server.rpc.decode.freshness import parse_freshness
from dynamodb_processor_server.rpc.decode.query import parse_cache
from dynamodb_processor_server.rpc.decode.violations import Violations
from dynamodb_processor_server.rpc.encode.pages import cache_field_of_gets, set_seconds
from dynamodb_processor_server.rpc.freshness_bounds import with_bounds
from dynamodb_processor_server.rpc.method_handlers import MAX_REQUEST_BYTES
from dynamodb_processor_server.rpc.page_cursors import FreshnessTokens
from dynamodb_processor_server.rpc.services.batch_get import MAX_KEYS
from dynamodb_processor_server.rpc.table_access import TableAccess

_MAX_KNOWN: Final = 1_000  # tables and projections, of callers with the same grant
_MAX_PROJECTION: Final = 1_024  # characters of the projections that are remembered
_EVENTUAL: Final = (0, 1)  # the consistencies of reads that are cached: unspecified, eventual
_RESULT: Final = b"\x0a"  # length-delimited field 1: `results` of a response, `item` of a result
_MISSING: Final = b"\x12"  # length-delimited field 2: `missing_key` of a result

_Name: TypeAlias = tuple[int, bytes, str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class KnownGets:
    """The gets of one table with one projection, by callers with one grant.

    `fields` are the key's attributes with the fields of `AttributeValue` that hold their values.
    """

    access: TableAccess
    shape: ItemShape
    fields: tuple[tuple[str, str], ...]

    def keys(self, messages: Iterable[Item]) -> list[ItemKey] | None:
        """Return the cache's keys of some items; None if one has other attributes.

        A value of another type, or a number in another form than the canonical one, gives a key
        under which nothing is cached.
        """
        keys: list[ItemKey] = []
        number, fields = self.shape.number, self.fields
        for message in messages:
            attributes = message.attributes
            if len(attributes) != len(fields):
                return None
            key: list[object] = [number]
            for name, field in fields:
                if name not in attributes:  # looking it up would add it
                    return None
                key.append(getattr(attributes[name], field))
            keys.append(tuple(key))
        return keys


class CachedGets:
    """Answers calls whose items are all cached.

    It knows the gets that were planned before, so that no request is planned again: reading a
    request's keys takes a twentieth of the time of planning it.
    """

    def __init__(
        self,
        catalog: Catalog,
        cache: ItemCache,
        freshness: FreshnessTokens,
        max_bytes: int,
        max_item: int,
    ) -> None:
        self._catalog = catalog
        self._cache = cache
        self._freshness = freshness
        self._max_bytes = max_bytes
        self._max_item = max_item
        self._known: dict[_Name, KnownGets] = {}

    async def answer(
        self, request: BatchGetItemsRequest, call: Call, limits: CallLimits
    ) -> bytes | None:
        """Return the response of a call whose items are all cached, else None.

        A call that gets None has been counted in `limits`. Raises as `CallLimits.begin`.
        """
        known = self._find(request, call.caller)
        if known is None:
            return None
        policy, requested = DEFAULT_CACHE_POLICY, None
        if request.HasField("cache"):
            violations = Violations()
            policy = parse_cache(request, violations)
            requested = parse_freshness(request, violations)
            if violations:
                return None
        if (waiting := limits.begin(call, known.access)) is not None:
            await waiting
        if requested is not None:
            policy, call.bound = with_bounds(self._freshness, requested, policy, hides_writes=False)
        answer = self._response(request, known, policy, call.bound)
        if answer is None:
            return None
        response, call.items = answer
        call.messages, call.cache = 1, CacheStatus.HIT
        limits.add_remaining_trailer(call)
        return response

    def _find(self, request: BatchGetItemsRequest, principal: Principal) -> KnownGets | None:
        """Return what is known of the gets of a request; None if it has to be planned."""
        if len(request.keys) > MAX_KEYS:
            return None
        if request.consistency not in _EVENTUAL or request.HasField("budget"):
            return None
        grant = principal.grant(request.table)
        if grant is None:
            return None
        return self._known.get(self._name(request, grant.version))

    def remember(
        self, request: BatchGetItemsRequest, access: TableAccess, lookup: BatchGetRequest
    ) -> None:
        """Remember the gets of a request that was planned, if later ones need no planning."""
        view, key = lookup.table.view, lookup.table.schema.base.key.attributes
        is_simple = all(
            attribute.type and attribute.template is None and attribute.name not in view.timestamps
            for attribute in key
        )
        if lookup.rule is not None or not self._cache.is_cached(lookup) or not is_simple:
            return
        if sum(map(len, request.projection)) > _MAX_PROJECTION:
            return
        fields = tuple((attribute.name, attribute.type.lower()) for attribute in key)
        known = KnownGets(access, self._cache.shapes.of(lookup), fields)
        if len(self._known) >= _MAX_KNOWN:  # the oldest one: a single plan brings it back
            del self._known[next(iter(self._known))]
        self._known[self._name(request, access.grant.version)] = known

    def _response(
        self,
        request: BatchGetItemsRequest,
        known: KnownGets,
        policy: CachePolicy,
        bound: FreshnessBound | None,
    ) -> tuple[bytes, int] | None:
        """Return the response with the number of its items; None if an item has to be read."""
        keys = known.keys(request.keys)
        found = None if not keys else self._cache.find_all(known.shape, keys, policy)
        if found is None:
            return None
        parts: list[bytes] = []
        items = largest = total = 0
        for index, cached in enumerate(found):
            message = cached.content.message
            if message is None:
                key = request.keys[index].SerializeToString()
                parts += (_heads(_MISSING, len(key)), key)
                continue
            size = len(message)
            parts += (_heads(_RESULT, size), message)
            items += 1
            total += size
            if size > largest:
                largest = size
        if largest > self._max_item or not self._has_room(request, total):
            return None
        self._cache.count_hits(known.shape, len(found))
        parts.append(self._rest(found, items, bound))
        return b"".join(parts), items

    def _has_room(self, request: BatchGetItemsRequest, size: int) -> bool:
        """Return whether a response has room for items of a size in all, beside the request."""
        # The size of a request takes protobuf as long as serializing it; most answers are small.
        if size <= self._max_bytes - MAX_REQUEST_BYTES:
            return True
        return size + request.ByteSize() <= self._max_bytes

    def _rest(self, found: list[CachedItem], items: int, bound: FreshnessBound | None) -> bytes:
        """Return the fields of a response beside its results."""
        now = self._cache.now()
        read_at = min([cached.content.read_at for cached in found])
        until = max([cached.content.read_until for cached in found])
        expires = min([cached.kept_until for cached in found])
        token = self._freshness.seal(until, b"", hides_writes=False, bound=bound)
        cache = cache_field_of_gets(CacheStatus.HIT, max(0.0, now - read_at), expires - now)
        rest = BatchGetItemsResponse(freshness_token=token)
        set_seconds(rest.read_time, read_at)
        return _stats(items) + rest.SerializeToString() + cache

    def _name(self, request: BatchGetItemsRequest, grant: bytes) -> _Name:
        return self._catalog.version, grant, request.table, tuple(request.projection)


@lru_cache(maxsize=MAX_KEYS + 1)
def _stats(items: int) -> bytes:
    """Return the field `stats` of a response, with the number of its items."""
    return BatchGetItemsResponse(stats=PageStats(items_returned=items)).SerializeToString()


@lru_cache(maxsize=4_096)
def _heads(kind: bytes, size: int) -> bytes:
    """Return the bytes before the message of an element of `results`."""
    head = kind + _varint(size)
    return _RESULT + _varint(len(head) + size) + head


def _varint(number: int) -> bytes:
    """Return a length as protobuf writes it."""
    if number < 0x80:
        return bytes((number,))
    if number < 0x4000:
        return bytes((number & 0x7F | 0x80, number >> 7))
    parts = bytearray()
    while number >= 0x80:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)
