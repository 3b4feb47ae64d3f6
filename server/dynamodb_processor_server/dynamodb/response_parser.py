"""Parses DynamoDB's errors, and its responses about tables, with botocore's own parser.

The parser checks the checksum of every response: botocore does that only in its legacy retry mode.
Responses that hold items are parsed by `item_responses.py`.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, Final

from aiobotocore.parsers import AioJSONParser, AioResponseParserFactory

_REASONS: Final = ("ThrottlingReasons", "throttlingReasons")
_CHECKSUM: Final = "x-amz-crc32"


class CorruptAnswer(Exception):
    """A response was damaged between DynamoDB and this server."""


def checksum_is_wrong(headers: Mapping[str, str], body: bytes) -> bool:
    """Return whether a response states a checksum that its body does not have."""
    stated = headers.get(_CHECKSUM)
    return stated is not None and stated != str(zlib.crc32(body))


class StrictResponseParser(AioJSONParser):  # type: ignore[misc]  # aiobotocore ships no types
    """Parses JSON responses as botocore does, and raises CorruptAnswer where it cannot."""

    async def parse(self, response: dict[str, Any], shape: Any) -> Any:
        """Return a response in the form that botocore expects."""
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


class CheckedResponseParser(StrictResponseParser):
    """Parses responses strictly, and raises CorruptAnswer for a wrong checksum too."""

    async def parse(self, response: dict[str, Any], shape: Any) -> Any:
        """Return a response in the form that botocore expects."""
        if checksum_is_wrong(response["headers"], response["body"]):
            raise CorruptAnswer("the checksum of a response is wrong")
        return await super().parse(response, shape)


class CheckedResponseParserFactory(AioResponseParserFactory):  # type: ignore[misc]  # as above
    """Makes checking parsers for the JSON protocol, botocore's own for others."""

    def create_parser(self, protocol_name: str) -> Any:
        """Return a parser for a protocol of botocore."""
        if protocol_name == "json":
            return CheckedResponseParser(**self._defaults)
        return super().create_parser(protocol_name)
