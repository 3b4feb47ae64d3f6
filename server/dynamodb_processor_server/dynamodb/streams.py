"""Reads shards and records of DynamoDB Streams."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import orjson
from botocore.exceptions import ClientError

from dynamodb_processor_server.change_streams.port import (
    IteratorExpired,
    RecordBatch,
    RecordsLost,
    StreamLocation,
)
from dynamodb_processor_server.change_streams.records import StreamRecord
from dynamodb_processor_server.change_streams.shards import Shard, ShardCursor
from dynamodb_processor_server.dynamodb.clients import Clients, Service
from dynamodb_processor_server.dynamodb.error_classification import classify
from dynamodb_processor_server.dynamodb.response_parser import ItemResponseParser
from dynamodb_processor_server.errors import BackendUnavailable

# GetRecords gives at most 1,000 records or 1 MB, whichever comes first.
_MOST_RECORDS: Final = 1_000
_NEARLY_FULL: Final = 500_000
_REQUIRED: Final = {
    "describe_stream": "StreamDescription",
    "get_shard_iterator": "ShardIterator",
    "get_records": "Records",
}
_LOST: Final = {
    "TrimmedDataAccessException": "records were trimmed before they were read",
    "ResourceNotFoundException": "the stream or the shard does not exist",
}


def _classify(error: Exception, stream: StreamLocation) -> Exception:
    """Return the error to raise to the reader of a stream for an exception of botocore."""
    if isinstance(error, ClientError):
        code = error.response.get("Error", {}).get("Code", "")
        if code == "ExpiredIteratorException":
            return IteratorExpired("the iterator has expired")
        if code in _LOST:
            return RecordsLost(_LOST[code])
    return classify(error, stream.arn).error


class DynamoDBStreams:
    """Reads streams with the `clients` of `STREAMS`. `now` gives seconds since the epoch.

    Each request is made once: the reader of a stream retries it with its own backoff.
    """

    def __init__(self, clients: Clients, now: Callable[[], float] = time.time) -> None:
        self._clients = clients
        self._now = now

    async def shards(self, stream: StreamLocation) -> Sequence[Shard]:
        """Return all shards that still exist, closed ones included."""
        found: list[Shard] = []
        start: dict[str, str] = {}
        while True:
            answer = await self._request("describe_stream", stream, StreamArn=stream.arn, **start)
            description = answer["StreamDescription"]
            found += map(_shard, description["Shards"])
            last = description.get("LastEvaluatedShardId")
            if not last:
                return found
            start = {"ExclusiveStartShardId": last}

    async def iterator(self, stream: StreamLocation, cursor: ShardCursor) -> str:
        """Return an iterator that begins at a cursor."""
        start = {"ShardIteratorType": cursor.start.value}
        if cursor.sequence is not None:
            start = {
                "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
                "SequenceNumber": cursor.sequence,
            }
        answer = await self._request(
            "get_shard_iterator", stream, StreamArn=stream.arn, ShardId=cursor.shard_id, **start
        )
        return str(answer["ShardIterator"])

    async def records(self, stream: StreamLocation, iterator: str) -> RecordBatch:
        """Return the next records of a shard, in order."""
        answer = await self._request(
            "get_records", stream, ShardIterator=iterator, Limit=_MOST_RECORDS
        )
        records = [
            record["dynamodb"] | {"eventName": record["eventName"]} for record in answer["Records"]
        ]
        size = sum(record.get("SizeBytes", 0) for record in records)
        now = self._now()
        return RecordBatch(
            records=[_record(record, now) for record in records],
            iterator=answer.get("NextShardIterator"),
            full=len(records) >= _MOST_RECORDS or size >= _NEARLY_FULL,
        )

    async def _request(self, operation: str, stream: StreamLocation, **request: Any) -> Any:
        try:
            client = await self._clients.client(stream.region, stream.role_arn)
            answer = await getattr(client, operation)(**request)
        except Exception as error:
            failure = _classify(error, stream)
            if failure is error:
                raise
            raise failure from error
        if _REQUIRED[operation] not in answer:  # botocore accepts any JSON object
            raise BackendUnavailable(f"a response lacks {_REQUIRED[operation]}")
        return answer


def _shard(description: Mapping[str, Any]) -> Shard:
    return Shard(
        description["ShardId"],
        description.get("ParentShardId"),
        closed="EndingSequenceNumber" in description.get("SequenceNumberRange", {}),
    )


def _record(record: Mapping[str, Any], now: float) -> StreamRecord:
    return StreamRecord(
        sequence=record["SequenceNumber"],
        change=record["eventName"],
        old=record.get("OldImage"),
        new=record.get("NewImage"),
        age=max(0.0, now - float(record.get("ApproximateCreationDateTime", now))),
    )


class _RecordResponseParser(ItemResponseParser):
    """Parses records with orjson: botocore's parser would block the event loop for long.

    It decodes only the binary values that may be keys: an image's own, none inside other values.
    """

    def _do_parse(self, response: dict[str, Any], shape: Any) -> Any:
        if shape is None or shape.name != "GetRecordsOutput":
            return super()._do_parse(response, shape)
        parsed = orjson.loads(response["body"])
        if b'"B"' in response["body"]:
            for record in parsed.get("Records", ()):
                for image in ("OldImage", "NewImage"):
                    _decode_binary(record["dynamodb"].get(image, {}))
        parsed["ResponseMetadata"] = {"RequestId": response["headers"].get("x-amzn-requestid", "")}
        return parsed


STREAMS: Final = Service("dynamodbstreams", _RecordResponseParser)


def _decode_binary(image: Mapping[str, dict[str, Any]]) -> None:
    for value in image.values():
        if "B" in value:
            value["B"] = base64.b64decode(value["B"])
