"""Tables and items put into DynamoDB quickly, for tests that read them through the service."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import boto3
from botocore.config import Config

from tests.support.conditions import WireItem
from tests.support.datasets import DataSet, Index, Schema

REGION = "eu-west-1"
# DynamoDB Local accepts any credentials; the server under test is given the same ones.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_REGION": REGION}
_BATCH = 25


def open_client(endpoint_url: str) -> Any:
    """Return a synchronous low-level DynamoDB client; it is safe to use from several threads."""
    return boto3.client(
        "dynamodb",
        endpoint_url=endpoint_url,
        region_name=REGION,
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        # DynamoDB checks parameters itself; botocore's check takes a third of the time of a batch.
        config=Config(
            retries={"mode": "standard", "total_max_attempts": 5}, parameter_validation=False
        ),
    )


def create_table(client: Any, schema: Schema, stream_view: str | None = None) -> None:
    """Create a table, replacing one of the same name; with a stream if a view of it is named."""
    if schema.table in client.list_tables()["TableNames"]:
        client.delete_table(TableName=schema.table)
    local = [_index(index) for index in schema.indexes if index.local]
    globals_ = [_index(index) for index in schema.indexes if not index.local]
    definition: dict[str, Any] = {
        "TableName": schema.table,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [
            {"AttributeName": name, "AttributeType": kind} for name, kind in schema.types.items()
        ],
        "KeySchema": _key_schema(schema.keys[:1], schema.keys[1:]),
    }
    if stream_view is not None:
        definition["StreamSpecification"] = {"StreamEnabled": True, "StreamViewType": stream_view}
    if local:
        definition["LocalSecondaryIndexes"] = local
    if globals_:
        definition["GlobalSecondaryIndexes"] = globals_
    client.create_table(**definition)


def _index(index: Index) -> dict[str, Any]:
    projection: dict[str, Any] = {"ProjectionType": index.projection}
    if index.include:
        projection["NonKeyAttributes"] = list(index.include)
    return {
        "IndexName": index.name,
        "KeySchema": _key_schema(index.partition, index.sort),
        "Projection": projection,
    }


def _key_schema(partition: Sequence[str], sort: Sequence[str]) -> list[dict[str, str]]:
    keys = [(name, "HASH") for name in partition] + [(name, "RANGE") for name in sort]
    return [{"AttributeName": name, "KeyType": kind} for name, kind in keys]


def put_items(client: Any, table: str, items: Iterable[WireItem]) -> None:
    """Write items in batches, a few at a time."""
    with ThreadPoolExecutor(4) as pool:
        for _ in pool.map(lambda batch: _put_batch(client, table, batch), _batches(items)):
            pass


def _batches(items: Iterable[WireItem]) -> Iterator[list[WireItem]]:
    rest = iter(items)
    while batch := list(islice(rest, _BATCH)):
        yield batch


def _put_batch(client: Any, table: str, batch: list[WireItem]) -> None:
    pending = {table: [{"PutRequest": {"Item": item}} for item in batch]}
    while pending:
        pending = client.batch_write_item(RequestItems=pending)["UnprocessedItems"]


def load(client: Any, data: DataSet) -> None:
    """Create a data set's table and fill it."""
    create_table(client, data.schema)
    put_items(client, data.schema.table, data.items)
