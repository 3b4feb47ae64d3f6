"""Answers are believed only when they are whole."""

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
    """Parse an answer as a client does. Headers are named with underscores."""
    parser: Any = ItemResponseParserFactory().create_parser("json")
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = {"body": body, "headers": named, "status_code": status, "context": {}}
    output = SimpleNamespace(name=shape, serialization={}, metadata={})
    parsed: dict[str, Any] = await parser.parse(answer, output)
    return parsed


async def test_a_whole_answer_is_parsed() -> None:
    """With its checksum, and without, as servers that are not AWS's may send it."""
    for answer in (parse(WHOLE), parse(WHOLE, x_amz_crc32=str(zlib.crc32(WHOLE)))):
        assert (await answer)["Items"] == [{"k": {"B": b"\1\2"}}]


async def test_a_wrong_checksum_is_found() -> None:
    """Also where the body makes sense, and in errors."""
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
async def test_what_makes_no_sense_is_no_answer(body: bytes, shape: str) -> None:
    """It is told from a bug of ours, and from an answer without items."""
    with pytest.raises(CorruptAnswer):
        await parse(body, shape)


@pytest.mark.parametrize("body", [b"\xff\xfe", b"[]", b"7"])
async def test_an_error_that_makes_no_sense_is_no_answer(body: bytes) -> None:
    """Botocore takes what it can read of it, which is nothing."""
    with pytest.raises(CorruptAnswer):
        await parse(body, status=400)


@pytest.mark.parametrize("spelling", ["ThrottlingReasons", "throttlingReasons"])
async def test_reasons_for_throttling_are_kept_however_they_are_spelled(spelling: str) -> None:
    """Botocore's model knows one spelling for each error."""
    reasons = [{"reason": "TableReadKeyRangeThroughputExceeded", "resource": "arn"}]
    body = orjson.dumps({"__type": "com.amazonaws#ThrottlingException", spelling: reasons})
    parsed = await parse(body, status=400)
    assert (parsed["Error"]["Code"], parsed[spelling]) == ("ThrottlingException", reasons)
