"""Tables for tests without DynamoDB, with descriptions like those of DescribeTable."""

from __future__ import annotations

from typing import Any

from dynamodb_processor_server.catalog.config import TableConfig
from dynamodb_processor_server.catalog.description import parse_description
from dynamodb_processor_server.catalog.schema import Table, TableSchema
from tests.support.datasets import Index, Schema

EVENTS = Schema(
    table="audit-events",
    partition="tenant_id",
    sort="event_id",
    indexes=(
        Index("by_time", True, ("tenant_id",), ("occurred_at",), "KEYS_ONLY"),
        Index("by_user", False, ("user_id",), ("occurred_at",)),
    ),
    types={"tenant_id": "S", "event_id": "S", "user_id": "S", "occurred_at": "S"},
)


def describe(schema: Schema) -> dict[str, Any]:
    """Return the `Table` of a DescribeTable result."""
    description: dict[str, Any] = {
        "TableName": schema.table,
        "AttributeDefinitions": [
            {"AttributeName": name, "AttributeType": kind} for name, kind in schema.types.items()
        ],
        "KeySchema": _key(schema.keys[:1], schema.keys[1:]),
    }
    for field, local in (("LocalSecondaryIndexes", True), ("GlobalSecondaryIndexes", False)):
        indexes = [_index(index) for index in schema.indexes if index.local is local]
        if indexes:
            description[field] = indexes
    return description


def _index(index: Index) -> dict[str, Any]:
    projection: dict[str, Any] = {"ProjectionType": index.projection}
    if index.include:
        projection["NonKeyAttributes"] = list(index.include)
    described = {
        "IndexName": index.name,
        "KeySchema": _key(index.partition, index.sort),
        "Projection": projection,
    }
    return described if index.local else {**described, "IndexStatus": "ACTIVE"}


def _key(partition: tuple[str, ...], sort: tuple[str, ...]) -> list[dict[str, str]]:
    keys = [(name, "HASH") for name in partition] + [(name, "RANGE") for name in sort]
    return [{"AttributeName": name, "KeyType": kind} for name, kind in keys]


def make_schema(schema: Schema = EVENTS) -> TableSchema:
    """Return the schema as the catalog knows it."""
    return parse_description(describe(schema))


def make_table(schema: Schema = EVENTS, **options: Any) -> Table:
    """Return a table of the catalog with this schema and these options."""
    config = TableConfig.model_validate({"table": schema.table, **options})
    return Table(schema.table, config, make_schema(schema))
