"""Responses of DynamoDB Streams that DynamoDB Local never gives."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError

from dynamodb_processor_server.change_streams.port import (
    IteratorExpired,
    RecordsLost,
    StreamLocation,
)
from dynamodb_processor_server.change_streams.shards import Shard, ShardCursor, Start
from dynamodb_processor_server.dynamodb.clients import Clients, ClientSettings
from dynamodb_processor_server.dynamodb.credentials import Credentials
from dynamodb_processor_server.dynamodb.streams import STREAMS, DynamoDBStreams
from dynamodb_processor_server.errors import BackendRefused, BackendUnavailable

STREAM = StreamLocation("arn:stream")
REFUSAL = ClientError({"Error": {"Code": "ValidationException"}}, "GetShardIterator")
NOW = 1_800_000_000


def cursor_since(since: float) -> ShardCursor:
    """Return a cursor that starts at a time."""
    return ShardCursor("a", Start.AT_TIMESTAMP, 0.0, since=since)


class Client:
    """Returns the given responses one after the other, and records the requests."""

    def __init__(self, *answers: dict[str, Any] | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[dict[str, Any]] = []

    async def _answer(self, **request: Any) -> dict[str, Any]:
        self.requests.append(request)
        answer = self.answers.pop(0)
        await asyncio.sleep(0)
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


async def test_children_are_requested_with_a_filter() -> None:
    """The other shards of the stream are not listed."""
    child = {"ShardId": "b", "ParentShardId": "a", "SequenceNumberRange": {}}
    client = Client({"StreamDescription": {"Shards": [child]}})
    assert await streams(client).children(STREAM, "a") == [Shard("b", "a", closed=False)]
    assert client.requests == [
        {"StreamArn": "arn:stream", "ShardFilter": {"Type": "CHILD_SHARDS", "ShardId": "a"}}
    ]


@pytest.mark.parametrize(
    "answer",
    [
        REFUSAL,
        {"StreamDescription": {"Shards": [{"ShardId": "a", "SequenceNumberRange": {}}]}},
    ],
    ids=["refused", "ignored"],
)
async def test_an_endpoint_that_cannot_filter_shards_is_asked_once(
    answer: dict[str, Any] | Exception,
) -> None:
    """Children are then found in full listings."""
    client = Client(answer)
    source = streams(client)
    for _ in range(3):
        assert await source.children(STREAM, "a") == ()
    assert len(client.requests) == 1


async def test_an_iterator_at_a_time_begins_earlier() -> None:
    """Whether the endpoint knows times is found out once, our clock is checked each time."""
    known = [{"ShardIterator": "past"}, REFUSAL]
    check, found = {"ShardIterator": "now"}, {"ShardIterator": "i"}
    client = Client(*known, check, found, check, found)
    source = streams(client, NOW)
    for _ in range(2):
        assert await source.iterator(STREAM, cursor_since(NOW - 7.5)) == "i"
    assert {request["ShardIteratorType"] for request in client.requests} == {"AT_TIMESTAMP"}
    day, wanted = 86_400, [NOW - 300, NOW - 608]
    assert [request["Timestamp"] for request in client.requests] == [
        NOW - day,
        NOW + day,
        *wanted,
        *wanted,
    ]


@pytest.mark.parametrize(
    "answers",
    [[REFUSAL], [{"ShardIterator": "past"}, {"ShardIterator": "future"}]],
    ids=["refused", "ignored"],
)
async def test_an_endpoint_that_knows_no_times_is_asked_once(answers: list[Any]) -> None:
    """Records that have to be found by their time are lost then."""
    client = Client(*answers)
    source = streams(client, NOW)
    for _ in range(3):
        with pytest.raises(RecordsLost):
            await source.iterator(STREAM, cursor_since(NOW))
    assert len(client.requests) == len(answers)


async def test_an_endpoint_is_tested_once_for_shards_that_are_resumed_together() -> None:
    """Every further shard takes the check of our clock and its own iterator."""
    client = Client({"ShardIterator": "past"}, REFUSAL, *[{"ShardIterator": "i"}] * 10)
    source = streams(client, NOW)
    await asyncio.gather(*(source.iterator(STREAM, cursor_since(NOW)) for _ in range(5)))
    assert client.answers == []


async def test_a_failed_request_says_nothing_about_the_endpoint() -> None:
    """It is asked again."""
    throttled = ClientError({"Error": {"Code": "ThrottlingException"}}, "GetShardIterator")
    iterators = [{"ShardIterator": name} for name in ("past", "now", "i")]
    client = Client(throttled, iterators[0], REFUSAL, *iterators[1:])
    source = streams(client, NOW)
    with pytest.raises(BackendUnavailable):
        await source.iterator(STREAM, cursor_since(NOW))
    assert await source.iterator(STREAM, cursor_since(NOW)) == "i"


async def test_a_clock_that_is_too_fast_finds_no_records() -> None:
    """DynamoDB refuses the future, and so five minutes ago by such a clock; that may change."""
    client = Client({"ShardIterator": "past"}, REFUSAL, REFUSAL, {"ShardIterator": "now"}, REFUSAL)
    source = streams(client, NOW)
    for _ in range(2):
        with pytest.raises(RecordsLost):
            await source.iterator(STREAM, cursor_since(NOW))
    assert client.answers == []


async def test_records_that_may_have_been_trimmed_are_lost() -> None:
    """DynamoDB would begin with the first one that it still has."""
    client = Client()
    with pytest.raises(RecordsLost):
        await streams(client, NOW).iterator(STREAM, cursor_since(NOW - 86_400 + 1_100))
    assert client.requests == []


async def test_expired_credentials_are_loaded_again() -> None:
    """The next request is signed with them."""
    expired = ClientError({"Error": {"Code": "ExpiredTokenException"}}, "GetRecords")
    source = streams(Client(expired, {"Records": []}))
    renewed: list[str] = []

    class Renewed:
        def renew(self) -> None:
            renewed.append("now")

    source._clients._credentials[None, None] = cast("Credentials", Renewed())
    with pytest.raises(BackendRefused):
        await source.records(STREAM, "i")
    assert renewed == ["now"]
    await source.records(STREAM, "i")
    assert renewed == ["now"]


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
    parsed = STREAMS.operations["get_records"].parse(json.dumps(body).encode())
    assert parsed["Records"][0]["dynamodb"]["NewImage"]["id"] == {"B": b"\xff\x00"}
    assert parsed["NextShardIterator"] == "j"


async def test_text_that_is_no_unicode_does_not_stop_a_stream() -> None:
    """DynamoDB Local stores halves of surrogate pairs, and sends them with the item's records."""
    image = {"id": {"S": "\ud83d"}, "note": {"S": "ü\ude00"}}
    body = json.dumps({"Records": [record("1", NewImage=image)]}).encode()
    parsed = STREAMS.operations["get_records"].parse(body)
    assert parsed["Records"][0]["dynamodb"]["NewImage"] == image
