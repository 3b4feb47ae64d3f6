"""The basis of the property test: its oracle, and the defects of DynamoDB Local."""

from __future__ import annotations

from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.conditions import WireItem, dynamodb_projection, dynamodb_text
from tests.support.datasets import DataSet, Index, Schema, make_dataset
from tests.support.dynamodb import create_table, load, open_client, put_items
from tests.support.oracle import expected
from tests.support.random_queries import random_queries

SEEDS: Final = range(100, 104)


@pytest.fixture(scope="module")
def client(dynamodb_local: str) -> Any:
    """A client of DynamoDB Local itself."""
    return open_client(dynamodb_local)


@pytest.fixture(scope="module")
def datasets(client: Any) -> list[DataSet]:
    """A few data sets, loaded."""
    made = [make_dataset(seed, prefix="oracle") for seed in SEEDS]
    for data in made:
        load(client, data)
    return made


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(drawn=st.data())
def test_oracle_agrees_with_dynamodb(
    client: Any, datasets: list[DataSet], drawn: st.DataObject
) -> None:
    """A plain scan with the whole condition as its filter finds the oracle's items."""
    data = drawn.draw(st.sampled_from(datasets))
    query = drawn.draw(random_queries(data))
    right = expected(data.items, query.condition, (), projection=query.projection)
    request: dict[str, Any] = {"TableName": data.schema.table}
    condition = dynamodb_text(query.condition)
    names, request["FilterExpression"] = dict(condition.names), condition.text
    if condition.values:
        request["ExpressionAttributeValues"] = condition.values
    if query.projection:
        projection = dynamodb_projection(query.projection)
        names |= projection.names
        request["ProjectionExpression"] = projection.text
    request["ExpressionAttributeNames"] = names
    pages = client.get_paginator("scan").paginate(**request)
    assert right.mismatch([item for page in pages for item in page["Items"]]) is None


def test_local_loses_ties_at_the_far_end(client: Any) -> None:
    """DynamoDB Local loses items between pages, as `loses_ties` says; if not, drop that."""
    types = {"owner": "S", "seq": "N", "kind": "S"}
    index = Index("by_kind", False, ("kind",), ("seq",))
    create_table(client, Schema("oracle-ties", "owner", "seq", (index,), types))
    items = [
        {"owner": {"S": f"o-{owner}"}, "seq": {"N": "1"}, "kind": {"S": "k"}} for owner in range(6)
    ]
    put_items(client, "oracle-ties", items)
    assert len(_paged(client, "seq >= :one")) == len(items)
    assert len(_paged(client, "seq <= :one")) < len(items)


def _paged(client: Any, sort_condition: str) -> list[WireItem]:
    """Return the items of a query on the index in pages of two."""
    request: dict[str, Any] = {
        "TableName": "oracle-ties",
        "IndexName": "by_kind",
        "KeyConditionExpression": f"kind = :kind AND {sort_condition}",
        "ExpressionAttributeValues": {":kind": {"S": "k"}, ":one": {"N": "1"}},
        "Limit": 2,
    }
    pages = client.get_paginator("query").paginate(**request)
    return [item for page in pages for item in page["Items"]]
