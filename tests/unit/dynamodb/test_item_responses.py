"""Tests of the parser of DynamoDB's responses that hold items."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from dynamodb_processor_server.dynamodb.item_responses import parse_items

_SENT: Final = {"B": "AP8="}
_READ: Final = {"B": b"\x00\xff"}


def _responses(binary: dict[str, Any]) -> list[dict[str, Any]]:
    """Return responses with a binary value in every place that can have one."""
    item = {
        "B": {"S": "B"},
        "b": binary,
        "BS": {"L": [binary, {"M": {"B": binary, "n": {"N": "1"}}}]},
    }
    return [
        {"Item": item},
        {"Items": [{"a": {"S": "x"}}, item], "LastEvaluatedKey": {"id": binary}},
        {
            "Responses": {"one": [item], "two": [item]},
            "UnprocessedKeys": {"one": {"Keys": [{"id": binary}]}},
        },
    ]


@pytest.mark.parametrize("separators", [(",", ":"), (", ", " : ")], ids=["compact", "spaced"])
def test_binary_values_are_decoded_wherever_they_stand(separators: tuple[str, str]) -> None:
    """However a server writes JSON; attributes may be called B or BS."""
    for sent, read in zip(_responses(_SENT), _responses(_READ), strict=True):
        assert parse_items(json.dumps(sent, separators=separators).encode()) == read


def test_members_of_binary_sets_are_decoded() -> None:
    """A response with sets alone has no other sign of binary data."""
    body = json.dumps({"Item": {"s": {"BS": ["AA==", "/w=="]}}}).encode()
    assert parse_items(body) == {"Item": {"s": {"BS": [b"\x00", b"\xff"]}}}
