"""DynamoDB Streams as a source of records."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final, Self

import aioboto3
import orjson
from botocore.config import Config
from botocore.exceptions import ClientError

from dynamodb_processor_server.change_streams.port import (
    IteratorExpired,
    RecordBatch,
    RecordsLost,
    StreamLocation,
)
from dynamodb_processor_server.change_streams.records import StreamRecord
from dynamodb_processor_server.change_streams.shards import Shard, ShardCursor
from dynamodb_processor_server.dynamodb.clients import ClientSettings, open_session
from dynamodb_processor_server.dynamodb.credentials import Credentials
from dynamodb_processor_server.dynamodb.error_classification import classify
from dynamodb_processor_server.dynamodb.response_parser import (
    ItemResponseParser,
    ItemResponseParserFactory,
)
from dynamodb_processor_server.errors import BackendUnavailable

# GetRecords gives at most 1,000 records or 1 MB, whichever comes first.
_MOST_RECORDS: Final = 1_000
_NEARLY_FULL: Final = 500_000
_NEEDED: Final = {
    "describe_stream": "StreamDescription",
    "get_shard_iterator": "ShardIterator",
    "get_records": "Records",
}
_LOST: Final = {
    "TrimmedDataAccessException": "records were trimmed before they were read",
    "ResourceNotFoundException": "the stream or the shard does not exist",
}


def _failure(error: Exception, stream: StreamLocation) -> Exception:
    """Return what an exception means to whoever reads a stream."""
    if isinstance(error, ClientError):
        code = error.response.get("Error", {}).get("Code", "")
        if code == "ExpiredIteratorException":
            return IteratorExpired("the iterator has expired")
        if code in _LOST:
            return RecordsLost(_LOST[code])
    return classify(error, stream.arn).error


class DynamoDBStreams:
    """Reads streams; for the time of its `async with`, after which its clients are closed.

    Each request is made once: whoever reads a stream asks again, at its own pace. `now` gives
    seconds since the epoch.
    """

    def __init__(self, settings: ClientSettings, now: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._now = now
        self._stack = AsyncExitStack()
        self._clients: dict[tuple[str | None, str | None], Any] = {}
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def shards(self, stream: StreamLocation) -> Sequence[Shard]:
        """Return all shards that still exist, closed ones included."""
        found: list[Shard] = []
        start: dict[str, str] = {}
        while True:
            answer = await self._ask("describe_stream", stream, StreamArn=stream.arn, **start)
            description = answer["StreamDescription"]
            found += map(_shard, description["Shards"])
            last = description.get("LastEvaluatedShardId")
            if not last:
                return found
            start = {"ExclusiveStartShardId": last}

    async def iterator(self, stream: StreamLocation, cursor: ShardCursor) -> str:
        """Return an iterator that begins where a cursor stands."""
        place = {"ShardIteratorType": cursor.start.value}
        if cursor.sequence is not None:
            place = {
                "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
                "SequenceNumber": cursor.sequence,
            }
        answer = await self._ask(
            "get_shard_iterator", stream, StreamArn=stream.arn, ShardId=cursor.shard_id, **place
        )
        return str(answer["ShardIterator"])

    async def records(self, stream: StreamLocation, iterator: str) -> RecordBatch:
        """Return the next records of a shard, in order."""
        answer = await self._ask("get_records", stream, ShardIterator=iterator, Limit=_MOST_RECORDS)
        told = [
            record["dynamodb"] | {"eventName": record["eventName"]} for record in answer["Records"]
        ]
        size = sum(record.get("SizeBytes", 0) for record in told)
        now = self._now()
        return RecordBatch(
            records=[_record(record, now) for record in told],
            iterator=answer.get("NextShardIterator"),
            full=len(told) >= _MOST_RECORDS or size >= _NEARLY_FULL,
        )

    async def _ask(self, operation: str, stream: StreamLocation, **request: Any) -> Any:
        try:
            client = await self._client(stream.region, stream.role_arn)
            answer = await getattr(client, operation)(**request)
        except Exception as error:
            failure = _failure(error, stream)
            if failure is error:
                raise
            raise failure from error
        if _NEEDED[operation] not in answer:  # botocore parses garbage too
            raise BackendUnavailable(f"an answer is without {_NEEDED[operation]}")
        return answer

    async def _client(self, region: str | None, role_arn: str | None) -> Any:
        async with self._opening:
            if (region, role_arn) not in self._clients:
                self._clients[region, role_arn] = await self._open(region, role_arn)
            return self._clients[region, role_arn]

    async def _open(self, region: str | None, role_arn: str | None) -> Any:
        settings = self._settings
        session = open_session(Credentials(role_arn, region or settings.region))
        session.register_component("response_parser_factory", _RecordResponseParserFactory())
        context = aioboto3.Session(botocore_session=session).client(
            "dynamodbstreams",
            region_name=region or settings.region,
            endpoint_url=settings.endpoint_url,
            config=Config(
                connect_timeout=settings.connect_timeout,
                read_timeout=settings.read_timeout,
                max_pool_connections=settings.pool_size,
                retries={"mode": "standard", "total_max_attempts": 1},
                tcp_keepalive=True,
            ),
        )
        return await self._stack.enter_async_context(context)


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
    """Parses records with orjson: botocore's way would hold up the event loop for long.

    Of binary values only those are decoded that may be keys: an image's own, none inside others.
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


class _RecordResponseParserFactory(ItemResponseParserFactory):
    def create_parser(self, protocol_name: str) -> Any:
        if protocol_name == "json":
            return _RecordResponseParser(**self._defaults)
        return super().create_parser(protocol_name)


def _decode_binary(image: Mapping[str, dict[str, Any]]) -> None:
    for value in image.values():
        if "B" in value:
            value["B"] = base64.b64decode(value["B"])
