"""`BatchGetItems` requests to lookups, and what was found to responses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dynamodb_processor.v1.query_service_pb2 import BatchGetItemsRequest, BatchGetItemsResponse
from dynamodb_processor_server.catalog.schema import Table
from dynamodb_processor_server.dynamodb.bounded_batches import BoundedBatch as FoundItems
from dynamodb_processor_server.errors import PermissionDenied
from dynamodb_processor_server.query.expression.values import to_wire
from dynamodb_processor_server.query.planning.planner import projection_violations
from dynamodb_processor_server.query.planning.request_builder import build_batch
from dynamodb_processor_server.query.planning.row_rule import RowRule
from dynamodb_processor_server.reader import BatchGetRequest
from dynamodb_processor_server.rpc.decode.keys import parse_key
from dynamodb_processor_server.rpc.decode.query import (
    WITHHELD,
    parse_consistency,
    parse_projection,
)
from dynamodb_processor_server.rpc.decode.values import ValueCounter
from dynamodb_processor_server.rpc.decode.violations import Violations
from dynamodb_processor_server.rpc.encode.pages import set_seconds, set_usage

MAX_KEYS: Final = 100  # DynamoDB's limit


@dataclass(frozen=True, slots=True)
class ParsedBatch:
    """A lookup, and for each key of the request the place of its key in the lookup.

    `withheld` says that items which the caller may not have are read: then the cost is not told.
    """

    lookup: BatchGetRequest
    indexes: tuple[int, ...]
    hides_cost: bool


def check_batch(request: BatchGetItemsRequest, violations: Violations) -> None:
    """Note what is wrong whatever the table."""
    if not 1 <= len(request.keys) <= MAX_KEYS:
        violations.add("keys", f"has 1 to {MAX_KEYS} keys, not {len(request.keys)}")
    if request.budget.HasField("max_scanned_items"):
        violations.add("budget.max_scanned_items", "is not for gets")


def parse_batch(
    request: BatchGetItemsRequest, table: Table, rule: RowRule | None, violations: Violations
) -> ParsedBatch:
    """Return the lookup that a request asks for.

    Raises InvalidRequest, and PermissionDenied where the caller may not see the whole key.
    """
    if not table.may_show_path(table.schema.base):
        raise PermissionDenied(f"the key of table {table.name} is not granted")
    key_names = frozenset(table.schema.base.cursor_attributes)
    # What the key says is judged before anything is read.
    withheld = rule is not None and not rule.attributes <= key_names
    if withheld and request.budget.HasField("max_read_units"):
        violations.add("budget.max_read_units", WITHHELD)
    strong = parse_consistency(request.consistency, "consistency", violations)
    projection = parse_projection(request.projection, "projection", violations)
    for violation in projection_violations(projection, table, "projection"):
        violations.add(violation.field, violation.description)
    room = ValueCounter()
    keys = [
        parse_key(key, f"keys[{position}]", table, room, violations)
        for position, key in enumerate(request.keys)
    ]
    violations.raise_any()
    distinct = {key: place for place, key in enumerate(dict.fromkeys(keys))}
    names = [attribute.name for attribute in table.schema.base.key.attributes]
    wire = tuple(
        {name: to_wire(value) for name, value in zip(names, key, strict=True)} for key in distinct
    )
    fetched, shape = build_batch(projection, table, rule)
    lookup = BatchGetRequest(table, wire, fetched, shape, strong, rule)
    return ParsedBatch(lookup, tuple(distinct[key] for key in keys), withheld)


def batch_response(
    request: BatchGetItemsRequest, batch: ParsedBatch, found: FoundItems, max_bytes: int
) -> BatchGetItemsResponse:
    """Return one result for each key of the request, in its order.

    Items are put in while there is room; the first is, whatever its size.
    """
    response = BatchGetItemsResponse()
    room = max_bytes
    for key, place in zip(request.keys, batch.indexes, strict=True):
        result = response.results.add()
        if place not in found.items:
            result.deferred_key.CopyFrom(key)
            continue
        item = found.items[place]
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
    if not batch.hides_cost:
        set_usage(response.stats, found.usage)
    set_seconds(response.read_time, found.read_at)
    return response
