"""Reads shards and records of DynamoDB Streams."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
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
from dynamodb_processor_server.change_streams.shards import Shard, ShardCursor, Start
from dynamodb_processor_server.dynamodb.clients import Clients, Service
from dynamodb_processor_server.dynamodb.data_plane import Operation
from dynamodb_processor_server.dynamodb.error_classification import classify
from dynamodb_processor_server.dynamodb.item_responses import decode_attributes, holds_binary
from dynamodb_processor_server.dynamodb.long_numbers import shorten_numbers
from dynamodb_processor_server.errors import BackendUnavailable, RequestInvalid
from dynamodb_processor_server.runtime import json_text

_RETENTION: Final = 24 * 3_600.0  # seconds, of the records of every stream
# Seconds by which an iterator at a time begins earlier. One half is for our clock: one that is five
# minutes fast is the worst whose signatures AWS accepts. The other half is for the rest: times of
# records are rounded, records appear late, and the age of a checkpoint is known to some seconds.
_MARGIN: Final = 600.0
# GetRecords gives at most 1,000 records or 1 MB, whichever comes first.
_MOST_RECORDS: Final = 1_000
_NEARLY_FULL: Final = 500_000
_NO_TIME: Final = "the records of a shard cannot be found by their time"
_REQUIRED: Final = {
    "describe_stream": "StreamDescription",
    "get_shard_iterator": "ShardIterator",
    "get_records": "Records",
}
_LOST: Final = {
    "TrimmedDataAccessException": "records were trimmed before they were read",
    "ResourceNotFoundException": "the stream or the shard does not exist",
}


class _RequestFault(BackendUnavailable):
    """The endpoint failed at a request, perhaps because of the request."""


class DynamoDBStreams:
    """Reads streams with the `clients` of `STREAMS`. `now` gives seconds since the epoch.

    Each request is made once: the reader of a stream retries it with its own backoff. `ShardFilter`
    is of 2025 and AT_TIMESTAMP of 2026: whether an endpoint knows them is found out at first use.
    """

    def __init__(self, clients: Clients, now: Callable[[], float] = time.time) -> None:
        self._clients = clients
        self._now = now
        # By region, as an endpoint is the same for all roles.
        self._ignores_filters: set[str | None] = set()
        self._knows_times: dict[str | None, bool] = {}
        self._testing = asyncio.Lock()

    async def shards(self, stream: StreamLocation) -> Sequence[Shard]:
        """Return all shards that still exist, closed ones included."""
        return await self._list(stream)

    async def children(self, stream: StreamLocation, shard_id: str) -> Sequence[Shard]:
        """Return the children of a closed shard.

        Return none where they are not listed yet, or where the endpoint can only list all shards.
        """
        if stream.region not in self._ignores_filters:
            children = {"Type": "CHILD_SHARDS", "ShardId": shard_id}
            with suppress(RequestInvalid):
                found = await self._list(stream, ShardFilter=children)
                if all(shard.parent == shard_id for shard in found):
                    return found
            self._ignores_filters.add(stream.region)
        return ()

    async def iterator(self, stream: StreamLocation, cursor: ShardCursor) -> str:
        """Return an iterator that begins at a cursor.

        One for a time begins with an earlier record. RecordsLost says that records cannot be found
        by their time.
        """
        if cursor.sequence is not None:
            return await self._iterator(
                stream, cursor.shard_id, "AFTER_SEQUENCE_NUMBER", SequenceNumber=cursor.sequence
            )
        if cursor.start is Start.AT_TIMESTAMP:
            return await self._iterator_since(stream, cursor)
        return await self._iterator(stream, cursor.shard_id, cursor.start.value)

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

    async def _list(self, stream: StreamLocation, **request: Any) -> list[Shard]:
        found: list[Shard] = []
        while True:
            answer = await self._request("describe_stream", stream, StreamArn=stream.arn, **request)
            description = answer["StreamDescription"]
            found += map(_shard, description["Shards"])
            last = description.get("LastEvaluatedShardId")
            if not last:
                return found
            request["ExclusiveStartShardId"] = last

    async def _iterator(self, stream: StreamLocation, shard_id: str, kind: str, **more: Any) -> str:
        answer = await self._request(
            "get_shard_iterator",
            stream,
            StreamArn=stream.arn,
            ShardId=shard_id,
            ShardIteratorType=kind,
            **more,
        )
        return str(answer["ShardIterator"])

    async def _iterator_since(self, stream: StreamLocation, cursor: ShardCursor) -> str:
        now, start = self._now(), cursor.since - _MARGIN
        # DynamoDB answers a time before its first record with that record, and says no more.
        if start < now - _RETENTION + _MARGIN:
            raise RecordsLost("records may have been trimmed since they were to be read")
        # It refuses the future: so our clock, which `since` is of, is not fast by more than this.
        if await self._knows_time(stream, cursor.shard_id) and await self._iterator_at(
            stream, cursor.shard_id, now - _MARGIN / 2
        ):
            iterator = await self._iterator_at(stream, cursor.shard_id, start)
            if iterator is not None:
                return iterator
        raise RecordsLost(_NO_TIME)

    async def _knows_time(self, stream: StreamLocation, shard_id: str) -> bool:
        """Return whether the endpoint accepts a time in the past, and refuses one in the future.

        One that does not know AT_TIMESTAMP refuses both, or accepts both because it ignores them.
        """
        async with self._testing:  # many shards are resumed at once
            knows = self._knows_times.get(stream.region)
            if knows is None:
                past, future = (self._now() + seconds for seconds in (-_RETENTION, _RETENTION))
                knows = await self._iterator_at(stream, shard_id, past) is not None
                knows = knows and await self._iterator_at(stream, shard_id, future) is None
                self._knows_times[stream.region] = knows
            return knows

    async def _iterator_at(self, stream: StreamLocation, shard_id: str, at: float) -> str | None:
        """Return an iterator for a time in seconds since the epoch, None if it is refused."""
        try:
            return await self._iterator(stream, shard_id, "AT_TIMESTAMP", Timestamp=int(at))
        except RequestInvalid:
            return None
        except _RequestFault as error:  # as of DynamoDB Local, which does not know the type
            raise RecordsLost(_NO_TIME) from error

    async def _request(self, operation: str, stream: StreamLocation, **request: Any) -> Any:
        try:
            client = await self._clients.client(stream.region, stream.role_arn)
            answer = await getattr(client, operation)(**request)
        except Exception as error:
            failure = self._failure(error, stream)
            if failure is error:
                raise
            raise failure from error
        if _REQUIRED[operation] not in answer:  # botocore accepts any JSON object
            raise BackendUnavailable(f"a response lacks {_REQUIRED[operation]}")
        return answer

    def _failure(self, error: Exception, stream: StreamLocation) -> Exception:
        """Return the error to raise to the reader of a stream for an exception of botocore."""
        if isinstance(error, ClientError):
            code = error.response.get("Error", {}).get("Code", "")
            if code == "ExpiredIteratorException":
                return IteratorExpired("the iterator has expired")
            if code in _LOST:
                return RecordsLost(_LOST[code])
        failure = classify(error, stream.arn)
        if failure.credentials_expired:
            self._clients.renew_credentials(stream.region, stream.role_arn)
        return _RequestFault(str(failure.error)) if failure.may_be_request_fault else failure.error


def _shard(description: Mapping[str, Any]) -> Shard:
    return Shard(
        description["ShardId"],
        description.get("ParentShardId"),
        closed="EndingSequenceNumber" in description.get("SequenceNumberRange", {}),
    )


def _record(record: Mapping[str, Any], now: float) -> StreamRecord:
    created = float(record.get("ApproximateCreationDateTime", now))
    return StreamRecord(
        sequence=record["SequenceNumber"],
        change=record["eventName"],
        old=record.get("OldImage"),
        new=record.get("NewImage"),
        age=max(0.0, now - created),
        created=created,
    )


def _parse_records(body: bytes) -> dict[str, Any]:
    """Return the response of GetRecords, with items as those of a read."""
    body = shorten_numbers(body)
    parsed: dict[str, Any] = json_text.loads(body)
    if holds_binary(body):
        for record in parsed.get("Records", ()):
            for image in ("OldImage", "NewImage"):
                decode_attributes(record["dynamodb"].get(image, {}))
    return parsed


STREAMS: Final = Service(
    "dynamodbstreams",
    {
        "describe_stream": Operation("DescribeStream", orjson.loads),
        "get_records": Operation("GetRecords", _parse_records),
        "get_shard_iterator": Operation("GetShardIterator", orjson.loads),
    },
)
