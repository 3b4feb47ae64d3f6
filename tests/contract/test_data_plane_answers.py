"""Requests of the data plane, its answers and errors are those of aioboto3."""

from __future__ import annotations

import gzip
import zlib
from typing import Any, Final

import orjson
import pytest
from botocore.exceptions import ClientError

from dynamodb_processor_server.dynamodb.error_classification import classify
from dynamodb_processor_server.dynamodb.response_parser import CorruptAnswer
from tests.contract.compared_clients import (
    QUERY,
    WHOLE,
    Pair,
    error_body,
    result_of,
    without_attempts,
)
from tests.support.raw_http import RawServer, response

pytestmark = pytest.mark.asyncio(loop_scope="session")

REASONS: Final = [{"reason": "TableReadKeyRangeThroughputExceeded", "resource": "arn"}]
REQUESTS: Final[dict[str, dict[str, Any]]] = {
    "query": QUERY,
    "scan": {"TableName": "events"},
    "get_item": {"TableName": "events", "Key": {"k": {"S": "a"}}},
    "batch_get_item": {"RequestItems": {"events": {"Keys": [{"k": {"S": "a"}}]}}},
}


async def test_requests_are_those_of_aioboto3(peer: RawServer, pair: Pair) -> None:
    """Both send the same content to the same place with the same names of signed headers."""
    peer.answer = response(WHOLE)
    await pair.results("query", **QUERY)
    ours, plain = peer.requests
    assert ours.line == plain.line
    assert orjson.loads(ours.body.replace(b"\\ud83d", b"?")) == orjson.loads(
        plain.body.replace(b"\\ud83d", b"?")
    )
    for name in ("content-type", "x-amz-target", "host", "accept-encoding", "accept"):
        assert ours.headers[name] == plain.headers[name]
    scope = ours.headers["authorization"].partition("/")[2].partition(",")[0]
    assert scope == plain.headers["authorization"].partition("/")[2].partition(",")[0]


@pytest.mark.parametrize(
    ("status", "code", "more"),
    [
        (400, "ProvisionedThroughputExceededException", {"ThrottlingReasons": REASONS}),
        (400, "ThrottlingException", {"throttlingReasons": REASONS}),
        (400, "RequestLimitExceeded", {"ThrottlingReasons": REASONS}),
        (400, "LimitExceededException", {}),
        (400, "ResourceNotFoundException", {}),
        (400, "ValidationException", {}),
        (400, "AccessDeniedException", {}),
        (400, "ExpiredTokenException", {}),
        (400, "UnrecognizedClientException", {}),
        (400, "MissingAuthenticationTokenException", {}),
        (400, "ItemCollectionSizeLimitExceededException", {}),
        (400, "SomethingNew", {}),
        (413, "RequestEntityTooLarge", {}),
        (500, "InternalServerError", {}),
        (503, "ServiceUnavailable", {}),
    ],
)
async def test_errors_are_those_of_aioboto3(
    peer: RawServer, pair: Pair, status: int, code: str, more: dict[str, Any]
) -> None:
    """Class, code, text, status, headers and modelled members agree."""
    peer.answer = response(
        error_body(code, **more),
        status,
        x_amzn_requestid="ABC",
        x_amz_retry_after="70",
        x_amz_crc32=str(zlib.crc32(error_body(code, **more))),
    )
    ours, plain = await pair.results("query", **QUERY)
    assert isinstance(ours, ClientError)
    assert type(ours).__name__ == type(plain).__name__
    assert isinstance(ours, pair.ours.exceptions.from_code(code))
    # botocore knows one spelling for each error.
    assert ours.response == {**without_attempts(plain.response), **more}
    assert classify(ours, "events").kind == classify(plain, "events").kind


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, WHOLE),
        (200, b'{"Count":0,"ScannedCount":0,"Items":[]}'),
        (200, b'{"Count":3,"ScannedCount":9,"LastEvaluatedKey":{"k":{"B":""}}}'),
        (200, b'{"ScannedCount":1,"Items":[{"n":{"N":"1e5"},"z":{"NULL":true}}]}'),
        (200, b'{"ScannedCount":1,"ConsumedCapacity":{"TableName":"t","CapacityUnits":0.5}}'),
        (502, b"<html>bad gateway</html>"),
        (503, b""),
        (500, b"  "),
        (403, b"<html>login</html>"),
        (404, b"not found"),
        (302, b"<html>elsewhere</html>"),
        (400, b'{"Message":"spelt so"}'),
        (400, b'{"__type":"a#B:http://more","message":"x"}'),
    ],
)
async def test_whole_answers_are_those_of_aioboto3(
    peer: RawServer, pair: Pair, status: int, body: bytes
) -> None:
    """Answers with and without items, and pages of proxies, have the same form."""
    peer.answer = response(body, status, x_amzn_requestid="ABC", content_type="text/html")
    ours, plain = await pair.results("query", **QUERY)
    if isinstance(plain, ClientError):
        assert type(ours).__name__ == type(plain).__name__
        ours, plain = ours.response, plain.response
    assert ours == without_attempts(plain)


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("query", b""),
        ("query", WHOLE[:-7]),
        ("scan", b"<html>"),
        ("get_item", b"null"),
        ("batch_get_item", b"[]"),
        ("query", b"{}"),
        ("batch_get_item", b"{}"),
        ("get_item", b'{"Item":{"k":{"B":"A"}}}'),
        ("get_item", b'{"Item":{"k":{"B":7}}}'),
    ],
)
async def test_a_body_that_cannot_be_parsed_is_corrupt(
    peer: RawServer, pair: Pair, operation: str, body: bytes
) -> None:
    """It is not taken for a bug of the server, nor for a response without items."""
    peer.answer = response(body)
    with pytest.raises(CorruptAnswer):
        await getattr(pair.ours, operation)(**REQUESTS[operation])


@pytest.mark.parametrize("status", [200, 400])
async def test_a_checksum_is_of_the_body_as_sent_or_as_it_was(
    peer: RawServer, pair: Pair, status: int
) -> None:
    """DynamoDB's own is of the compressed bytes; a proxy compresses after it was computed."""
    body = WHOLE if status == 200 else error_body("ValidationException")
    packed = gzip.compress(body)
    for sent, stated, encoding in (
        (body, body, "identity"),
        (packed, packed, "gzip"),
        (packed, body, "GZIP"),
        (gzip.compress(body[:9]) + gzip.compress(body[9:]), body, "gzip"),
    ):
        peer.answer = response(
            sent, status, x_amz_crc32=str(zlib.crc32(stated)), content_encoding=encoding
        )
        answer = await result_of(pair.ours.query(**QUERY))
        if status == 200:
            assert answer["Items"] == [{"k": {"B": b"\1\2"}}]
        else:
            assert answer.response["Error"]["Code"] == "ValidationException"
    for sent, encoding in ((body, "identity"), (packed, "gzip"), (packed[:-9], "gzip")):
        peer.answer = response(sent, status, X_AMZ_CRC32="1", content_encoding=encoding)
        assert isinstance(await result_of(pair.ours.query(**QUERY)), CorruptAnswer)
    # No gzip at all, cut, with a wrong checksum of its own, with a wrong length, and with a rest.
    for sent in (body, packed[:-1], packed[:-8] + bytes(8), packed[:-1] + b"\1", packed + b"x"):
        peer.answer = response(sent, status, content_encoding="gzip")
        assert isinstance(await result_of(pair.ours.query(**QUERY)), CorruptAnswer)
