"""Responses about tables, and errors, are accepted only when they are undamaged."""

from __future__ import annotations

import zlib
from typing import Any

import botocore.session
import orjson
import pytest

from dynamodb_processor_server.dynamodb.response_parser import (
    CheckedResponseParserFactory,
    CorruptAnswer,
)

WHOLE = b'{"TableNames":["a"]}'
MODEL = botocore.session.get_session().get_service_model("dynamodb")
OUTPUT = MODEL.operation_model("ListTables").output_shape


async def parse(body: bytes, status: int = 200, **headers: str) -> dict[str, Any]:
    """Parse a response as a client does. Headers are named with underscores."""
    parser: Any = CheckedResponseParserFactory().create_parser("json")
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = {"body": body, "headers": named, "status_code": status, "context": {}}
    parsed: dict[str, Any] = await parser.parse(answer, OUTPUT)
    return parsed


async def test_a_whole_answer_is_parsed() -> None:
    """The checksum may be absent, as in responses of servers that are not AWS's."""
    for answer in (parse(WHOLE), parse(WHOLE, x_amz_crc32=str(zlib.crc32(WHOLE)))):
        assert (await answer)["TableNames"] == ["a"]


async def test_a_wrong_checksum_is_found() -> None:
    """It is found in valid bodies and in errors too."""
    for status in (200, 400):
        with pytest.raises(CorruptAnswer, match="checksum"):
            await parse(WHOLE, status, x_amz_crc32="1")


@pytest.mark.parametrize("body", [b"[]", b"7", b"\xff", b'{"TableNames":7}'])
async def test_a_body_that_cannot_be_parsed_is_corrupt(body: bytes) -> None:
    """It is not taken for a bug of the server."""
    with pytest.raises(CorruptAnswer):
        await parse(body)


@pytest.mark.parametrize("body", [b"\xff\xfe", b"[]", b"7"])
async def test_an_error_body_that_cannot_be_parsed_is_corrupt(body: bytes) -> None:
    """Botocore's own parser accepts it, but reads no code or text from it."""
    with pytest.raises(CorruptAnswer):
        await parse(body, 400)


@pytest.mark.parametrize("spelling", ["ThrottlingReasons", "throttlingReasons"])
async def test_reasons_for_throttling_are_kept_in_either_spelling(spelling: str) -> None:
    """Botocore's model knows one spelling for each error."""
    reasons = [{"reason": "TableReadKeyRangeThroughputExceeded", "resource": "arn"}]
    body = orjson.dumps({"__type": "com.amazonaws#ThrottlingException", spelling: reasons})
    parsed = await parse(body, 400)
    assert (parsed["Error"]["Code"], parsed[spelling]) == ("ThrottlingException", reasons)
