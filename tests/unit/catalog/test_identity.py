"""The identity of the table in a description."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import pytest

from dynamodb_processor_server.catalog.identity import TableIdentity, identity_of

_URL: Final = "https://dynamodb.eu-west-1.amazonaws.com"
_ARN: Final = "arn:aws:dynamodb:eu-west-1:123456789012:table/events"
_DESCRIBED: Final[dict[str, Any]] = {
    "TableName": "events",
    "TableArn": _ARN,
    "TableId": "0b1d6f5e",
    "CreationDateTime": datetime(2026, 1, 2, tzinfo=UTC),
}


def test_a_table_is_known_by_its_arn_and_id() -> None:
    """The identity has the ARN and the id, with the endpoint and the region in effect."""
    identity = identity_of(_DESCRIBED, _URL + "/", "eu-west-1")
    assert identity == TableIdentity("events", _URL, "eu-west-1", _ARN, "0b1d6f5e")
    assert identity.location == (_URL, "eu-west-1", _ARN, "events")


@pytest.mark.parametrize("created", [datetime(2026, 1, 2, tzinfo=UTC), 1767312000.0])
def test_without_an_id_the_time_of_creation_counts(created: object) -> None:
    """Servers that imitate DynamoDB may give no id; the time may have any parser's form."""
    described = {"TableName": "events", "CreationDateTime": created}
    identity = identity_of(described, _URL, "eu-west-1")
    assert identity == TableIdentity("events", _URL, "eu-west-1", "", "1767312000.0")


def test_a_description_may_have_neither() -> None:
    """The identity then has only the endpoint, the region and the name."""
    assert identity_of({"TableName": "t"}, "", "r") == TableIdentity("t", "", "r")
