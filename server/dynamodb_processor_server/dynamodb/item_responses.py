"""Parses DynamoDB's responses that hold items, without botocore's service model.

botocore visits every value of a response along the model, which is four fifths of the cost of a
query. Items need no model: they are JSON already, except that binary values come in base64 and
numbers written out.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any, Final

from dynamodb_processor_server.dynamodb.long_numbers import shorten_numbers
from dynamodb_processor_server.runtime import json_text

# Either type may also be an attribute's name, or stand inside a string, which is harmless. One
# search takes half the time of two with `in`.
_BINARY: Final = re.compile(rb'"BS?"')


def parse_items(body: bytes) -> dict[str, Any]:
    """Return the response of Query, Scan, GetItem or BatchGetItem in the form of botocore.

    Raises an ordinary exception, of no particular class, for a body that has another form.
    """
    body = shorten_numbers(body)
    parsed: dict[str, Any] = json_text.loads(body)
    if holds_binary(body):
        _decode_binary(parsed)
    return parsed


def holds_binary(body: bytes) -> bool:
    """Return whether a response may hold a binary value."""
    return _BINARY.search(body) is not None


def _decode_binary(parsed: dict[str, Any]) -> None:
    items = parsed.get("Items") or [parsed.get("Item", {})]
    for table_items in parsed.get("Responses", {}).values():
        items.extend(table_items)
    for request in parsed.get("UnprocessedKeys", {}).values():
        items.extend(request["Keys"])
    for item in items:
        decode_attributes(item)
    decode_attributes(parsed.get("LastEvaluatedKey", {}))


def decode_attributes(attributes: Mapping[str, Any]) -> None:
    """Decode the binary values of an item in its place, nested ones included."""
    for value in attributes.values():
        _decode_value(value)


def _decode_value(value: dict[str, Any]) -> None:
    if "B" in value:
        value["B"] = base64.b64decode(value["B"])
    elif "BS" in value:
        value["BS"] = [base64.b64decode(member) for member in value["BS"]]
    elif "M" in value:
        decode_attributes(value["M"])
    elif "L" in value:
        for element in value["L"]:
            _decode_value(element)
