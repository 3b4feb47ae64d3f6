"""Tests of listing and describing tables with the client."""

from __future__ import annotations

from datetime import timedelta

import grpc
import pytest

from dynamodb_processor.v1 import catalog_service_pb2
from dynamodb_processor_client import (
    Index,
    IndexKind,
    KeyAttribute,
    KeySchema,
    KeyType,
    QueryClient,
    Table,
    TableSummary,
    Unauthenticated,
)
from tests.support.fake_service import Failure, FakeService


async def test_listing_the_tables(client: QueryClient, service: FakeService) -> None:
    """The listing has the tables of all its pages."""
    for name in ("a", "b", "c"):
        service.tables.tables.add(name=name, description=name.upper())
    assert await client.tables() == [
        TableSummary("a", "A"),
        TableSummary("b", "B"),
        TableSummary("c", "C"),
    ]


async def test_one_table(client: QueryClient, service: FakeService) -> None:
    """The description of a table has every field of the message."""
    table = service.table.table
    table.name = "events"
    table.key.partition.add(name="id", type=catalog_service_pb2.KEY_TYPE_STRING)
    index = table.indexes.add(name="by_time", kind=catalog_service_pb2.INDEX_KIND_GLOBAL)
    index.key.partition.add(name="day", type=catalog_service_pb2.KEY_TYPE_NUMBER)
    index.key.sort.add(name="at", type=catalog_service_pb2.KEY_TYPE_BINARY)
    index.projected_attributes.extend(["at", "day", "id"])
    table.visible_attributes.extend(["id", "day", "at"])
    table.default_page_size, table.max_page_size = 100, 1_000
    table.cache_ttl.FromSeconds(300)
    assert await client.table("events") == Table(
        name="events",
        description="",
        key=KeySchema((KeyAttribute("id", KeyType.STRING),), ()),
        indexes=(
            Index(
                name="by_time",
                kind=IndexKind.GLOBAL,
                key=KeySchema(
                    (KeyAttribute("day", KeyType.NUMBER),), (KeyAttribute("at", KeyType.BINARY),)
                ),
                projects_all=False,
                projected_attributes=("at", "day", "id"),
            ),
        ),
        visible_attributes=("id", "day", "at"),
        required_attributes=(),
        default_page_size=100,
        max_page_size=1_000,
        cache_ttl=timedelta(minutes=5),
        allow_scan=False,
    )


async def test_errors_of_the_catalog_are_typed(client: QueryClient, service: FakeService) -> None:
    """Listing and describing raise the same errors as queries."""
    service.failures.extend([Failure(grpc.StatusCode.UNAUTHENTICATED)] * 2)
    with pytest.raises(Unauthenticated):
        await client.tables()
    with pytest.raises(Unauthenticated):
        await client.table("numbers")
