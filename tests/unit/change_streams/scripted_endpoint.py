"""An endpoint of DynamoDB Streams in memory, in front of a scripted stream."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import Any, Final

from botocore.exceptions import ClientError

from dynamodb_processor_server.change_streams.port import (
    IteratorExpired,
    RecordsLost,
    StreamLocation,
)
from dynamodb_processor_server.change_streams.records import StreamRecord
from dynamodb_processor_server.change_streams.shards import Shard, ShardCursor, Start
from tests.unit.change_streams.scripted_stream import ScriptedStream

_EPOCH: Final = 1_800_000_000.0  # of the loop's clock, in seconds since 1970
_STREAM: Final = StreamLocation("arn:stream")
_MEGABYTE: Final = 1024 * 1024


class Support(Enum):
    """What an endpoint does with filters of shards (of 2025) and times of iterators (of 2026)."""

    KNOWN = "known"
    REFUSED = "refused"
    IGNORED = "ignored"


class ScriptedEndpoint:
    """The clients of `DynamoDBStreams`, and the only client of them.

    Times of records are whole seconds of the endpoint's clock, which is `wall` of a replica whose
    clock is right. An endpoint that ignores times starts at the latest record. A full response
    has a megabyte of records.
    """

    def __init__(self, stream: ScriptedStream, support: Support) -> None:
        self._stream = stream
        self._support = support

    def wall(self) -> float:
        """Return the time of the endpoint's clock, in seconds since the epoch."""
        return _EPOCH + asyncio.get_running_loop().time()

    async def client(self, region: str | None, role_arn: str | None) -> ScriptedEndpoint:
        """Return the client."""
        return self

    async def describe_stream(self, **request: Any) -> dict[str, Any]:
        """List the shards, all of them or the children of one."""
        parent = request.get("ShardFilter", {}).get("ShardId")
        found = await self._stream.shards(_STREAM)
        if parent is not None and self._support is Support.REFUSED:
            raise _refusal("ValidationException")
        if parent is not None and self._support is Support.KNOWN:
            found = [shard for shard in found if shard.parent == parent]
        return {"StreamDescription": {"Shards": list(map(_described, found))}}

    async def get_shard_iterator(self, **request: Any) -> dict[str, Any]:
        """Return an iterator of a shard."""
        kind, sequence = request["ShardIteratorType"], request.get("SequenceNumber")
        cursor = ShardCursor(request["ShardId"], Start.LATEST, 0.0, sequence=sequence)
        if kind == "TRIM_HORIZON":
            cursor.start = Start.TRIM_HORIZON
        elif kind == "AT_TIMESTAMP" and self._support is not Support.IGNORED:
            if self._support is Support.REFUSED or request["Timestamp"] > self.wall():
                raise _refusal("ValidationException")
            cursor.start = Start.AT_TIMESTAMP
            cursor.since = float(request["Timestamp"]) - _EPOCH
        return {"ShardIterator": await self._stream.iterator(_STREAM, cursor)}

    async def get_records(self, **request: Any) -> dict[str, Any]:
        """Return the next records of a shard."""
        try:
            batch = await self._stream.records(_STREAM, request["ShardIterator"])
        except IteratorExpired:
            raise _refusal("ExpiredIteratorException") from None
        except RecordsLost:
            raise _refusal("TrimmedDataAccessException") from None
        records = list(map(self._record, batch.records))
        if batch.full:
            records[-1]["dynamodb"]["SizeBytes"] = _MEGABYTE
        return {"Records": records, "NextShardIterator": batch.iterator}

    def _record(self, record: StreamRecord) -> dict[str, Any]:
        content = {
            "SequenceNumber": record.sequence,
            "OldImage": record.old,
            "NewImage": record.new,
            "ApproximateCreationDateTime": int(_EPOCH + self._stream.times[record.sequence]),
        }
        return {"eventName": record.change, "dynamodb": content}


def _described(shard: Shard) -> dict[str, Any]:
    numbers = {"EndingSequenceNumber": "9"} if shard.closed else {}
    description = {"ShardId": shard.shard_id, "SequenceNumberRange": numbers}
    return description if shard.parent is None else description | {"ParentShardId": shard.parent}


def _refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": ""}}, "GetShardIterator")
