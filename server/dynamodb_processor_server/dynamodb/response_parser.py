"""A fast parser for DynamoDB's responses to reads.

botocore visits every value of a response along the service model, which is four fifths of the cost
of a query. Items need no model: they are JSON already, except that binary values come in base64
and numbers written out.
Other operations and errors go through botocore's own parser.

The parser checks the checksum of every response: botocore does that only in its legacy retry mode.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from typing import Any, Final

from aiobotocore.parsers import AioJSONParser, AioResponseParserFactory

from dynamodb_processor_server.dynamodb.long_numbers import shorten_numbers
from dynamodb_processor_server.runtime import json_text

# The responses that hold items, each with its required member.
_ITEM_SHAPES: Final[Mapping[str, str | None]] = {
    "QueryOutput": "ScannedCount",
    "ScanOutput": "ScannedCount",
    "GetItemOutput": None,
    "BatchGetItemOutput": "Responses",
}
_REASONS: Final = ("ThrottlingReasons", "throttlingReasons")
_CHECKSUM: Final = "x-amz-crc32"


class CorruptAnswer(Exception):
    """A response was damaged between DynamoDB and this server."""


class ItemResponseParser(AioJSONParser):  # type: ignore[misc]  # aiobotocore ships no types
    """Parses responses that hold items with orjson, all others with botocore's parser.

    Raises CorruptAnswer for a response whose checksum is wrong or that cannot be parsed.
    """

    async def parse(self, response: dict[str, Any], shape: Any) -> Any:
        """Return a response in the form that botocore expects."""
        stated = response["headers"].get(_CHECKSUM)
        if stated is not None and stated != str(zlib.crc32(response["body"])):
            raise CorruptAnswer("the checksum of a response is wrong")
        try:
            return await super().parse(response, shape)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise CorruptAnswer("a response cannot be parsed") from error

    def _do_error_parse(self, response: dict[str, Any], shape: Any) -> Any:
        parsed = super()._do_error_parse(response, shape)
        # DynamoDB spells them both ways; botocore's model knows one for each error.
        body = self._parse_body_as_json(response["body"])
        parsed.update({name: body[name] for name in _REASONS if name in body})
        return parsed

    def _do_parse(self, response: dict[str, Any], shape: Any) -> Any:
        if shape is None or shape.name not in _ITEM_SHAPES:
            return super()._do_parse(response, shape)
        body = shorten_numbers(response["body"])
        parsed = json_text.loads(body)
        needed = _ITEM_SHAPES[shape.name]
        if needed is not None and needed not in parsed:
            raise CorruptAnswer(f"a response lacks {needed}")
        if b'"B"' in body or b'"BS"' in body:  # may be an attribute's name, which is harmless
            _decode_binary(parsed)
        parsed["ResponseMetadata"] = {"RequestId": response["headers"].get("x-amzn-requestid", "")}
        return parsed


class ItemResponseParserFactory(AioResponseParserFactory):  # type: ignore[misc]  # as above
    """Makes parsers of class `parser` for the JSON protocol, botocore's own for others."""

    def __init__(self, parser: type[ItemResponseParser] = ItemResponseParser) -> None:
        super().__init__()
        self._parser = parser

    def create_parser(self, protocol_name: str) -> Any:
        """Return a parser for a protocol of botocore."""
        if protocol_name == "json":
            return self._parser(**self._defaults)
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
