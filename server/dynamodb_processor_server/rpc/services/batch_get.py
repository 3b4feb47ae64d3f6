"""Converts `BatchGetItems` requests to look-ups, and their results to responses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dynamodb_processor.v1.query_service_pb2 import BatchGetItemsRequest, BatchGetItemsResponse
from dynamodb_processor_server.batch_reader import BatchGetRequest
from dynamodb_processor_server.catalog.schema import Table
from dynamodb_processor_server.dynamodb.bounded_batches import BoundedBatch as FoundItems
from dynamodb_processor_server.errors import PermissionDenied
from dynamodb_processor_server.query.expression.values import to_wire
from dynamodb_processor_server.query.planning.planner import projection_violations
from dynamodb_processor_server.query.planning.request_builder import build_batch
from dynamodb_processor_server.query.planning.row_rule import RowRule
from dynamodb_processor_server.reader import CacheMode, CacheStatus
from dynamodb_processor_server.rpc.decode.keys import parse_key
from dynamodb_processor_server.rpc.decode.query import (
    WITHHELD,
    parse_consistency,
    parse_projection,
)
from dynamodb_processor_server.rpc.decode.values import ValueCounter
from dynamodb_processor_server.rpc.decode.violations import Violations
from dynamodb_processor_server.rpc.encode.pages import set_cache_info, set_seconds, set_usage

MAX_KEYS: Final = 100  # DynamoDB's limit


@dataclass(frozen=True, slots=True)
class ParsedBatch:
    """A look-up of unique keys, and for each key of the request its index in the look-up.

    `hides_cost` says that items which the caller may not see are read, so the cost is not returned.
    """

    lookup: BatchGetRequest
    indexes: tuple[int, ...]
    hides_cost: bool


def check_batch(request: BatchGetItemsRequest, violations: Violations) -> None:
    """Add the violations of a request that do not depend on its table."""
    if not 1 <= len(request.keys) <= MAX_KEYS:
        violations.add("keys", f"has 1 to {MAX_KEYS} keys, not {len(request.keys)}")
    if request.budget.HasField("max_scanned_items"):
        violations.add("budget.max_scanned_items", "is not for gets")


def parse_batch(
    request: BatchGetItemsRequest,
    table: Table,
    rule: RowRule | None,
    mode: CacheMode,
    violations: Violations,
) -> ParsedBatch:
    """Return the look-up of a request.

    Raises InvalidRequest, and PermissionDenied where the caller may not see the whole key.
    """
    if not table.may_show_path(table.schema.base):
        raise PermissionDenied(f"the key of table {table.name} is not granted")
    key_names = frozenset(table.schema.base.cursor_attributes)
    # A rule on key attributes alone is evaluated before the read, so it hides no cost.
    hides_cost = rule is not None and not rule.attributes <= key_names
    if hides_cost and request.budget.HasField("max_read_units"):
        violations.add("budget.max_read_units", WITHHELD)
    if rule is not None and mode is CacheMode.ONLY_IF_CACHED:
        violations.add("cache.mode", WITHHELD)
    consistent = parse_consistency(request.consistency, "consistency", violations)
    projection = parse_projection(request.projection, "projection", violations)
    for violation in projection_violations(projection, table, "projection"):
        violations.add(violation.field, violation.description)
    counter = ValueCounter()
    keys = [
        parse_key(key, f"keys[{index}]", table, counter, violations)
        for index, key in enumerate(request.keys)
    ]
    violations.raise_any()
    unique = {key: index for index, key in enumerate(dict.fromkeys(keys))}
    names = [attribute.name for attribute in table.schema.base.key.attributes]
    wire = tuple(
        {name: to_wire(value) for name, value in zip(names, key, strict=True)} for key in unique
    )
    fetched, kept = build_batch(projection, table, rule, consistent=consistent)
    lookup = BatchGetRequest(table, wire, fetched, kept, consistent, rule)
    return ParsedBatch(lookup, tuple(unique[key] for key in keys), hides_cost)


def batch_response(
    request: BatchGetItemsRequest, batch: ParsedBatch, found: FoundItems, max_bytes: int
) -> BatchGetItemsResponse:
    """Return one result for each key of the request, in its order.

    Items are added up to `max_bytes`; the first one is always added. The keys of the others are
    returned as deferred.
    """
    response = BatchGetItemsResponse()
    room = max_bytes
    for key, index in zip(request.keys, batch.indexes, strict=True):
        result = response.results.add()
        if index not in found.items:
            result.deferred_key.CopyFrom(key)
            continue
        item = found.items[index]
        if item is None:
            result.missing_key.CopyFrom(key)
            continue
        if len(item) > room and response.stats.items_returned:
            result.deferred_key.CopyFrom(key)
            continue
        result.item.SetInParent()
        result.item.MergeFromString(item)
        response.stats.items_returned += 1
        room -= len(item)
    # Under a row rule, a hit or a miss reveals whether any item was written, hidden ones included.
    if batch.lookup.rule is None or found.status is CacheStatus.BYPASSED:
        if not batch.hides_cost:
            set_usage(response.stats, found.usage)
        set_seconds(response.read_time, found.read_at)
        set_cache_info(response.cache, found.status, found.age, found.expires_in)
    return response
