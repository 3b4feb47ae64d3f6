"""ARNs of tables: their region and their name."""

from __future__ import annotations

import pytest

from dynamodb_processor_server.catalog.table_arn import name_of, region_of


@pytest.mark.parametrize(
    ("table", "region", "name"),
    [
        ("arn:aws:dynamodb:eu-west-1:123456789012:table/a.b-c_D", "eu-west-1", "a.b-c_D"),
        ("arn:aws-cn:dynamodb:cn-north-1:123456789012:table/events", "cn-north-1", "events"),
        ("arn:aws-us-gov:dynamodb:us-gov-west-1:123456789012:table/xyz", "us-gov-west-1", "xyz"),
        ("events", None, "events"),
    ],
)
def test_an_arn_has_a_region_and_a_name(table: str, region: str | None, name: str) -> None:
    """A name is its own, and has no region."""
    assert (region_of(table), name_of(table)) == (region, name)


@pytest.mark.parametrize(
    "text",
    [
        "arn:aws:dynamodb:eu-west-1:123456789012:table/events/index/by_user",
        "arn:aws:dynamodb:eu-west-1:123456789012:table/events/stream/2026-01-01T00:00:00.000",
        "arn:aws:dynamodb:eu-west-1:1234:table/events",
        "arn:aws:dynamodb::123456789012:table/events",
        "arn:aws:s3:::events",
    ],
)
def test_other_arns_are_not_those_of_tables(text: str) -> None:
    """An index, a stream and other services have others."""
    assert region_of(text) is None
