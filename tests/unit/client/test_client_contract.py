"""Tests that the client has every field of the contract, except by decision."""

from __future__ import annotations

import io
from dataclasses import fields
from typing import Any, Final

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from rich.console import Console

import dynamodb_processor_client
from dynamodb_processor.v1 import (
    cache_service_pb2,
    catalog_service_pb2,
    query_pb2,
    query_service_pb2,
)
from dynamodb_processor_client import (
    Budget,
    CacheCounters,
    CacheInfo,
    CachePolicy,
    CacheStats,
    Count,
    Explanation,
    Index,
    KeyAttribute,
    KeySchema,
    Page,
    PageStats,
    RejectedPath,
    Table,
    TableSummary,
    Total,
)
from dynamodb_processor_client.rendering import (
    explanation_fields,
    explanation_tree,
    table_fields,
    table_view,
    to_json,
)

_PAIRS: Final = (
    (catalog_service_pb2.Table, Table),
    (catalog_service_pb2.TableSummary, TableSummary),
    (catalog_service_pb2.KeySchema, KeySchema),
    (catalog_service_pb2.KeyAttribute, KeyAttribute),
    (catalog_service_pb2.Index, Index),
    (query_service_pb2.QueryResponse, Page),
    (query_service_pb2.StreamQueryResponse, Page),
    (query_service_pb2.CountItemsResponse, Count),
    (query_service_pb2.ExplainQueryResponse, Explanation),
    (query_pb2.RejectedPath, RejectedPath),
    (query_pb2.PageStats, PageStats),
    (query_pb2.CacheInfo, CacheInfo),
    (query_pb2.Total, Total),
    (query_pb2.Budget, Budget),
    (query_pb2.CachePolicy, CachePolicy),
    (cache_service_pb2.GetCacheStatsResponse, CacheStats),
    (cache_service_pb2.CacheStats, CacheCounters),
)
# Fields with another name in Python or none, with the reason.
_ELSEWHERE: Final = {
    "Total.relation": "exact",
    "CountItemsResponse.total": "value",  # and `exact`
    "StreamQueryResponse.resume_token": "next_page_token",
    "StreamQueryResponse.sequence": None,  # gRPC keeps the order of messages
    "StreamQueryResponse.cumulative": None,  # `PageStream.stats`, over all its calls
    "StreamQueryResponse.last": None,  # the end of the iteration
}


@pytest.mark.parametrize(
    ("message", "counterpart"), _PAIRS, ids=[message.__name__ for message, _ in _PAIRS]
)
def test_every_field_has_a_counterpart(message: type[Message], counterpart: type) -> None:
    """A new field of the contract must be added to the client, or to the exceptions."""
    there = {field.name for field in fields(counterpart)}
    for field in message.DESCRIPTOR.fields:
        name = _ELSEWHERE.get(f"{message.DESCRIPTOR.name}.{field.name}", field.name)
        assert name is None or name in there


def test_every_response_is_covered() -> None:
    """Every message in a response has a counterpart that the test above compares."""
    paired = {message.DESCRIPTOR.full_name for message, _ in _PAIRS}
    elsewhere = {
        "AttributeValue",  # a Python value
        "Item",  # a dictionary
        "BatchGetItemsResponse",  # a list with `stats` and `read_time`
        "GetResult",  # a member of that list
        "ListTablesResponse",  # a list
        "TableCacheStats",  # a member of `CacheStats.tables`
        "GetTableResponse",  # a `Table`
        "InvalidateCacheResponse",  # nothing
    }
    for module in (query_service_pb2, catalog_service_pb2, cache_service_pb2):
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                unseen = {
                    one.full_name
                    for one in _reachable(method.output_type)
                    if one.file.package == "dynamodb_processor.v1"
                    and one.file.name != "dynamodb_processor/v1/value.proto"
                    and one.name not in elsewhere
                }
                assert unseen <= paired


def test_a_described_table_shows_every_field() -> None:
    """`ddbq tables NAME` shows each value of the message, to programs and to people."""
    table = catalog_service_pb2.Table()
    values = _fill(table)
    described = Table.from_message(table)
    for_programs = to_json(table_fields(described))
    for_people = _shown(table_view(described))
    assert len(values) > 15
    for name, value in values.items():
        assert value in for_programs, name
        assert value in for_people, name
    table.indexes[0].kind = catalog_service_pb2.INDEX_KIND_LOCAL
    assert "(local)" in _shown(table_view(Table.from_message(table)))
    table.key.sort[0].type = catalog_service_pb2.KEY_TYPE_NUMBER
    assert "NUMBER" in _shown(table_view(Table.from_message(table)))
    table.indexes[0].projects_all = table.allow_scan = True
    shown = _shown(table_view(Table.from_message(table)))
    assert "all" in shown
    assert "scans: allowed" in shown


def test_an_explanation_shows_every_field() -> None:
    """`ddbq explain` shows each value of the message, to programs and to people."""
    message = query_service_pb2.ExplainQueryResponse()
    values = _fill(message)
    explanation = Explanation.from_message(message)
    for_programs = to_json(explanation_fields(explanation))
    for_people = _shown(explanation_tree(explanation))
    for name, value in values.items():
        assert value in for_programs, name
        assert value in for_people, name


def test_every_public_name_can_be_imported() -> None:
    """Every exported name is imported on demand, and no other name."""
    assert sorted(dynamodb_processor_client._MODULES) == dynamodb_processor_client.__all__
    for name in dynamodb_processor_client.__all__:
        assert getattr(dynamodb_processor_client, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = dynamodb_processor_client.nonsense


def _reachable(message: Descriptor, seen: dict[str, Descriptor] | None = None) -> list[Descriptor]:
    found = {} if seen is None else seen
    if message.full_name not in found:
        found[message.full_name] = message
        for field in message.fields:
            if field.message_type is not None:
                _reachable(field.message_type, found)
    return list(found.values())


def _fill(message: Message, seen: dict[str, str] | None = None, path: str = "") -> dict[str, str]:
    """Set every field to a value of its own, and return the values as text."""
    values = {} if seen is None else seen
    for field in message.DESCRIPTOR.fields:
        name = f"{path}.{field.name}" if path else field.name
        number = 1_000 + len(values)
        if field.message_type is not None and field.message_type.full_name.startswith("google."):
            getattr(message, field.name).FromSeconds(number)
            values[name] = str(number)
        elif field.message_type is not None:
            inner = getattr(message, field.name)
            _fill(inner.add() if _is_repeated(field) else inner, values, name)
        else:
            value: Any = number
            if field.type == FieldDescriptor.TYPE_STRING:
                value = f"text{number}"
            elif field.type in (FieldDescriptor.TYPE_BOOL, FieldDescriptor.TYPE_ENUM):
                continue  # their values are not unique
            if _is_repeated(field):
                getattr(message, field.name).append(value)
            else:
                setattr(message, field.name, value)
            values[name] = str(value)
    return values


def _is_repeated(field: Any) -> bool:
    return bool(field.is_repeated)


def _shown(renderable: Any) -> str:
    console = Console(file=io.StringIO(), width=400, color_system=None)
    with console.capture() as captured:
        console.print(renderable)
    return captured.get()
