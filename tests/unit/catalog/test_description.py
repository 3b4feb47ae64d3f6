"""DescribeTable responses of which a part is missing, unknown or not ready."""

from __future__ import annotations

from typing import Any

import pytest

from dynamodb_processor_server.catalog.description import DescriptionError, parse_description
from dynamodb_processor_server.catalog.schema import (
    BASE_TABLE,
)
from tests.unit.catalog.addresses import ADDRESSES
from tests.unit.query.tables import describe, make_schema


def test_paths_have_a_fixed_order() -> None:
    """The base table, local and global indexes follow in this order, each kind sorted by name."""
    description = describe(ADDRESSES)
    description["GlobalSecondaryIndexes"].reverse()
    labels = [path.label for path in parse_description(description).paths]
    assert labels == [BASE_TABLE, "by_city", "by_place"]
    assert parse_description(description) == make_schema(ADDRESSES)


@pytest.mark.parametrize(
    ("status", "readable"),
    [("ACTIVE", True), ("UPDATING", True), ("CREATING", False), ("DELETING", False)],
)
def test_only_readable_indexes_are_paths(status: str, readable: bool) -> None:
    """An index that is being created or deleted is no path, but another replica may read it."""
    description: dict[str, Any] = describe(ADDRESSES)
    description["GlobalSecondaryIndexes"][0]["IndexStatus"] = status
    schema = parse_description(description)
    assert (schema.path("by_place") is not None) is readable
    assert "by_place" in [path.label for path in schema.all_paths]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"Projection": {}}, "its description lacks its projection"),
        ({"Projection": {"ProjectionType": "SOME"}}, "its description lacks its projection"),
        ({"KeySchema": []}, "its description lacks the partition key"),
        (
            {"KeySchema": None},
            "its description is not understood: 'NoneType' object is not iterable",
        ),
        (
            {"KeySchema": [{"AttributeName": "moon", "KeyType": "HASH"}]},
            "its description lacks the type of moon",
        ),
        (
            {"KeySchema": [{"AttributeName": "city", "KeyType": "ORBIT"}]},
            "its description is not understood: 'ORBIT'",
        ),
    ],
)
def test_an_index_that_is_not_understood_is_skipped(changed: dict[str, Any], reason: str) -> None:
    """After an error of any kind, the table and its other indexes can still be read."""
    description: dict[str, Any] = describe(ADDRESSES)
    description["GlobalSecondaryIndexes"][0].update(changed)
    schema = parse_description(description)
    assert [path.label for path in schema.paths] == [BASE_TABLE, "by_city"]
    assert schema.skipped == (f"by_place: {reason}",)


@pytest.mark.parametrize(
    "definition",
    [
        {"AttributeName": "street"},
        {"AttributeName": "street", "AttributeType": "VECTOR"},
        {"AttributeName": "street", "AttributeType": None},
        {"AttributeType": "S"},
        None,
    ],
)
def test_a_definition_that_is_not_understood_costs_its_index_alone(definition: Any) -> None:
    """A key type that the service does not know makes only its index unreadable."""
    description: dict[str, Any] = describe(ADDRESSES)
    description["AttributeDefinitions"] = [
        definition if one["AttributeName"] == "street" else one
        for one in description["AttributeDefinitions"]
    ]
    schema = parse_description(description)
    assert [path.label for path in schema.paths] == [BASE_TABLE, "by_city"]
    assert schema.skipped == ("by_place: its description lacks the type of street",)


@pytest.mark.parametrize(
    "odd",
    [
        {"ItemCount": "5", "TableSizeBytes": "900"},
        {"ItemCount": 5, "TableSizeBytes": -900},
        {"ItemCount": None, "TableSizeBytes": None},
        {"StreamSpecification": None},
        {"LocalSecondaryIndexes": [None, {}]},
        {"Replicas": None},
    ],
)
def test_fields_that_no_query_needs_may_have_any_value(odd: dict[str, Any]) -> None:
    """Odd sizes, streams and entries without a name do not make a table unreadable."""
    schema = parse_description(describe(ADDRESSES) | odd)
    assert [path.label for path in schema.paths] == [BASE_TABLE, "by_city", "by_place"]
    assert schema.item_bytes is None


@pytest.mark.parametrize("lacking", ["AttributeDefinitions", "KeySchema", "TableName"])
def test_a_table_without_its_own_key_is_refused(lacking: str) -> None:
    """Such a table cannot be read, and the reason names the missing field."""
    description = describe(ADDRESSES)
    del description[lacking]
    with pytest.raises(DescriptionError, match=lacking):
        parse_description(description)


@pytest.mark.parametrize(
    ("fields", "replicated"),
    [
        ({}, False),
        ({"Replicas": [{"RegionName": "eu-west-1"}]}, True),
        ({"Replicas": [{}], "MultiRegionConsistency": "EVENTUAL"}, True),
        ({"Replicas": [{}], "MultiRegionConsistency": "STRONG"}, False),
    ],
)
def test_copies_in_other_regions_are_known(fields: dict[str, Any], replicated: bool) -> None:
    """A table is replicated if its copies may lag behind."""
    assert parse_description({**describe(ADDRESSES), **fields}).replicated is replicated


def test_a_stream_is_known_while_it_is_on() -> None:
    """DynamoDB still gives the ARN of a stream that was switched off."""
    description = describe(ADDRESSES)
    assert parse_description(description).stream_arn is None
    description["LatestStreamArn"] = "arn:stream"
    assert parse_description(description).stream_arn is None
    description["StreamSpecification"] = {"StreamEnabled": True}
    assert parse_description(description).stream_arn == "arn:stream"
