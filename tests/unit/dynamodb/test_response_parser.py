"""Responses are accepted only when they are complete and undamaged."""

from __future__ import annotations

import zlib
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from dynamodb_processor_server.dynamodb.response_parser import (
    CorruptAnswer,
    ItemResponseParserFactory,
)

WHOLE = b'{"Count":1,"ScannedCount":1,"Items":[{"k":{"B":"AQI="}}]}'


async def parse(
    body: bytes, shape: str = "QueryOutput", status: int = 200, **headers: str
) -> dict[str, Any]:
    """Parse a response as a client does. Headers are named with underscores."""
    parser: Any = ItemResponseParserFactory().create_parser("json")
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = {"body": body, "headers": named, "status_code": status, "context": {}}
    output = SimpleNamespace(name=shape, serialization={}, metadata={})
    parsed: dict[str, Any] = await parser.parse(answer, output)
    return parsed


async def test_a_whole_answer_is_parsed() -> None:
    """The checksum may be absent, as in responses of servers that are not AWS's."""
    for answer in (parse(WHOLE), parse(WHOLE, x_amz_crc32=str(zlib.crc32(WHOLE)))):
        assert (await answer)["Items"] == [{"k": {"B": b"\1\2"}}]


async def test_a_wrong_checksum_is_found() -> None:
    """It is found in valid bodies and in errors too."""
    for status in (200, 400):
        with pytest.raises(CorruptAnswer, match="checksum"):
            await parse(WHOLE, status=status, x_amz_crc32="1")


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        (b"", "QueryOutput"),
        (WHOLE[:-7], "QueryOutput"),
        (b"<html>", "ScanOutput"),
        (b"null", "GetItemOutput"),
        (b"[]", "BatchGetItemOutput"),
        (b"{}", "QueryOutput"),
        (b"{}", "BatchGetItemOutput"),
        (b'{"Item":{"k":{"B":"A"}}}', "GetItemOutput"),
        (b'{"Item":{"k":{"B":7}}}', "GetItemOutput"),
    ],
)
async def test_a_body_that_cannot_be_parsed_is_corrupt(body: bytes, shape: str) -> None:
    """It is not taken for a bug of the server, nor for a response without items."""
    with pytest.raises(CorruptAnswer):
        await parse(body, shape)


@pytest.mark.parametrize("body", [b"\xff\xfe", b"[]", b"7"])
async def test_an_error_body_that_cannot_be_parsed_is_corrupt(body: bytes) -> None:
    """Botocore's own parser accepts it, but reads no code or text from it."""
    with pytest.raises(CorruptAnswer):
        await parse(body, status=400)


@pytest.mark.parametrize("spelling", ["ThrottlingReasons", "throttlingReasons"])
async def test_reasons_for_throttling_are_kept_in_either_spelling(spelling: str) -> None:
    """Botocore's model knows one spelling for each error."""
    reasons = [{"reason": "TableReadKeyRangeThroughputExceeded", "resource": "arn"}]
    body = orjson.dumps({"__type": "com.amazonaws#ThrottlingException", spelling: reasons})
    parsed = await parse(body, status=400)
    assert (parsed["Error"]["Code"], parsed[spelling]) == ("ThrottlingException", reasons)
