"""Responses of DynamoDB Streams that DynamoDB Local never gives."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError

from dynamodb_processor_server.change_streams.port import (
    IteratorExpired,
    RecordsLost,
    StreamLocation,
)
from dynamodb_processor_server.change_streams.shards import Shard, ShardCursor, Start
from dynamodb_processor_server.dynamodb.clients import Clients, ClientSettings
from dynamodb_processor_server.dynamodb.response_parser import ItemResponseParserFactory
from dynamodb_processor_server.dynamodb.streams import STREAMS, DynamoDBStreams
from dynamodb_processor_server.errors import BackendRefused, BackendUnavailable

STREAM = StreamLocation("arn:stream")


class Client:
    """Returns the given responses one after the other, and records the requests."""

    def __init__(self, *answers: dict[str, Any] | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[dict[str, Any]] = []

    async def _answer(self, **request: Any) -> dict[str, Any]:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    describe_stream = get_shard_iterator = get_records = _answer


def streams(client: Client, now: float = 1_000.0) -> DynamoDBStreams:
    """Return a source that uses this client."""
    clients = Clients(ClientSettings(), STREAMS)
    clients._clients[None, None] = client
    return DynamoDBStreams(clients, lambda: now)


def record(sequence: str, **more: Any) -> dict[str, Any]:
    """Return a record as DynamoDB sends it."""
    fields = {
        "SequenceNumber": sequence,
        "Keys": {},
        "NewImage": {"id": {"S": "a"}},
        "SizeBytes": 10,
    }
    return {"eventName": "INSERT", "dynamodb": fields | more}


async def test_shards_are_listed_page_by_page() -> None:
    """Each page begins after the last shard of the page before."""
    first = {"ShardId": "a", "SequenceNumberRange": {"EndingSequenceNumber": "9"}}
    second = {"ShardId": "b", "ParentShardId": "a", "SequenceNumberRange": {}}
    client = Client(
        {"StreamDescription": {"Shards": [first], "LastEvaluatedShardId": "a"}},
        {"StreamDescription": {"Shards": [second]}},
    )
    assert await streams(client).shards(STREAM) == [
        Shard("a", None, closed=True),
        Shard("b", "a", closed=False),
    ]
    assert client.requests[1]["ExclusiveStartShardId"] == "a"


async def test_an_iterator_begins_at_its_cursor() -> None:
    """It begins with the shard's start, or after the last processed record."""
    client = Client({"ShardIterator": "i"}, {"ShardIterator": "j"})
    cursor = ShardCursor("a", Start.LATEST, 0.0)
    assert await streams(client).iterator(STREAM, cursor) == "i"
    cursor.sequence = "7"
    assert await streams(client).iterator(STREAM, cursor) == "j"
    assert [request["ShardIteratorType"] for request in client.requests] == [
        "LATEST",
        "AFTER_SEQUENCE_NUMBER",
    ]
    assert client.requests[1]["SequenceNumber"] == "7"


async def test_records_are_aged_by_their_time() -> None:
    """Ages are in seconds, and never negative, as clocks differ."""
    records = [record(str(at), ApproximateCreationDateTime=at) for at in (990.0, 1_005.0)]
    batch = await streams(Client({"Records": records})).records(STREAM, "i")
    assert [each.age for each in batch.records] == [10.0, 0.0]
    assert [each.sequence for each in batch.records] == ["990.0", "1005.0"]
    assert batch.iterator is None


@pytest.mark.parametrize(
    ("count", "size", "full"),
    [(0, 0, False), (3, 10, False), (1_000, 10, True), (2, 400_000, True)],
)
async def test_a_response_is_full_by_number_or_by_size(
    count: int, size: int, *, full: bool
) -> None:
    """The limits are 1,000 records or 1 MB, of which half counts as full."""
    answer = {"Records": [record("1", SizeBytes=size)] * count, "NextShardIterator": "j"}
    batch = await streams(Client(answer)).records(STREAM, "i")
    assert batch.full is full
    assert batch.iterator == "j"


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("ExpiredIteratorException", IteratorExpired),
        ("TrimmedDataAccessException", RecordsLost),
        ("ResourceNotFoundException", RecordsLost),
        ("LimitExceededException", BackendUnavailable),
        ("ThrottlingException", BackendUnavailable),
        ("InternalServerError", BackendUnavailable),
        ("AccessDeniedException", BackendRefused),
    ],
)
async def test_errors_are_classified(code: str, error: type[Exception]) -> None:
    """They say whether records are lost, the iterator has expired, or a retry may help."""
    refusal = ClientError({"Error": {"Code": code, "Message": ""}}, "GetRecords")
    with pytest.raises(error):
        await streams(Client(refusal)).records(STREAM, "i")


async def test_unreachable_and_invalid_responses_are_retryable() -> None:
    """No record is lost by them."""
    answers: tuple[dict[str, Any] | Exception, ...] = (ConnectTimeoutError(endpoint_url="x"), {})
    for answer in answers:
        with pytest.raises(BackendUnavailable):
            await streams(Client(answer)).records(STREAM, "i")


async def test_binary_keys_are_decoded() -> None:
    """Only an image's own attributes are decoded: no key lies deeper."""
    text = base64.b64encode(b"\xff\x00").decode()
    image = {"id": {"B": text}, "deep": {"M": {"x": {"B": text}}}}
    body = {"Records": [record("1", NewImage=image)], "NextShardIterator": "j"}
    parser: Any = ItemResponseParserFactory(STREAMS.parser).create_parser("json")
    shape = type("Shape", (), {"name": "GetRecordsOutput"})
    answer = {"body": json.dumps(body).encode(), "headers": {}, "status_code": 200}
    parsed = parser._do_parse(answer, shape)
    assert parsed["Records"][0]["dynamodb"]["NewImage"]["id"] == {"B": b"\xff\x00"}
    assert parsed["NextShardIterator"] == "j"
