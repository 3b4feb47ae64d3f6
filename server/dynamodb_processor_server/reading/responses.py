"""A faster parser for what DynamoDB answers to reads.

botocore walks every value of a response along the service model, which is four fifths of the cost
of a query. Items need no model: they are JSON already, except that binary values come in base64.
Other operations and errors go through botocore's own parser.
"""

from __future__ import annotations

import base64
from typing import Any, Final

import orjson
from aiobotocore.parsers import AioJSONParser, AioResponseParserFactory

_ITEM_SHAPES: Final = frozenset(
    {"QueryOutput", "ScanOutput", "GetItemOutput", "BatchGetItemOutput"}
)


class ItemResponseParser(AioJSONParser):  # type: ignore[misc]  # aiobotocore ships no types
    """Parses item responses with orjson, everything else as before."""

    def _do_parse(self, response: dict[str, Any], shape: Any) -> Any:
        if shape is None or shape.name not in _ITEM_SHAPES:
            return super()._do_parse(response, shape)
        body = response["body"]
        parsed = orjson.loads(body)
        if b'"B"' in body or b'"BS"' in body:  # may be an attribute's name, which is harmless
            _decode_binary(parsed)
        parsed["ResponseMetadata"] = {"RequestId": response["headers"].get("x-amzn-requestid", "")}
        return parsed


class ItemResponseParserFactory(AioResponseParserFactory):  # type: ignore[misc]  # as above
    """Makes `ItemResponseParser` for the JSON protocol."""

    def create_parser(self, protocol_name: str) -> Any:
        """Return a parser for a protocol of botocore."""
        if protocol_name == "json":
            return ItemResponseParser(**self._defaults)
        return super().create_parser(protocol_name)


def _decode_binary(parsed: dict[str, Any]) -> None:
    items = parsed.get("Items") or [parsed.get("Item", {})]
    for table_items in parsed.get("Responses", {}).values():
        items.extend(table_items)
    for request in parsed.get("UnprocessedKeys", {}).values():
        items.extend(request["Keys"])
    for item in items:
        _decode_attributes(item)
    _decode_attributes(parsed.get("LastEvaluatedKey", {}))


def _decode_attributes(attributes: dict[str, Any]) -> None:
    for value in attributes.values():
        _decode_value(value)


def _decode_value(value: dict[str, Any]) -> None:
    if "B" in value:
        value["B"] = base64.b64decode(value["B"])
    elif "BS" in value:
        value["BS"] = [base64.b64decode(member) for member in value["BS"]]
    elif "M" in value:
        _decode_attributes(value["M"])
    elif "L" in value:
        for element in value["L"]:
            _decode_value(element)
