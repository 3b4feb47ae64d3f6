"""A table's stream as DynamoDB Streams answers for it, whose shards end when a test says so."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Any, Final

from tests.faults.stub import Act, Ask, Reply, open_gate, refusal, reply_with
from tests.support.conditions import WireItem

_SHARDS_AT_ONCE: Final = 2  # So that more of them take several answers.
_FIRST: Final = 100_000_000_000_000_000_000  # Sequence numbers have 21 digits or more.
_PREFIX: Final = "shardId-00000000000000000000-"  # Of every shard's name, on the wire.


@dataclass
class _Shard:
    parent: str | None
    first: int
    records: list[dict[str, Any]] = field(default_factory=list)
    last: int | None = None  # Once it is closed.
    trimmed: int = 0  # How many records are no longer there.
    faults: list[Reply] = field(default_factory=list)
    read: bool = False  # To its end.
    gate: asyncio.Event = field(default_factory=open_gate)


class ShardTree:
    """A stream of one open shard, `root`, until it is split.

    `asked` are the shards whose records were requested, `early` those that were before their parent
    had been read to its end. `knows_times` says whether iterators may start at a time.
    """

    def __init__(self, *, knows_times: bool = True) -> None:
        self.knows_times = knows_times
        self.asked: set[str] = set()
        self.early: set[str] = set()
        self._number = _FIRST
        self._shards = {"root": _Shard(None, _FIRST)}
        self._iterators: dict[str, tuple[str, int]] = {}

    @property
    def acts(self) -> dict[str, Act]:
        """The answers in place of those of DynamoDB Streams."""
        return {
            "DescribeStream": self._describe,
            "GetShardIterator": self._iterator,
            "GetRecords": self._records,
        }

    def write(self, shard_id: str, old: WireItem | None, new: WireItem) -> None:
        """Add the record of a write to an open shard."""
        shard = self._shards[shard_id]
        assert shard.last is None, "nothing is written to closed shards"
        data = {
            "ApproximateCreationDateTime": int(time.time()),
            "Keys": {name: new[name] for name in ("user_id", "seq")},
            "NewImage": new,
            "SequenceNumber": self._next_number(),
            "SizeBytes": 200,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        }
        if old is not None:
            data["OldImage"] = old
        shard.records.append(
            {
                "awsRegion": "eu-west-1",
                "dynamodb": data,
                "eventID": f"{self._number:032x}",
                "eventName": "INSERT" if old is None else "MODIFY",
                "eventSource": "aws:dynamodb",
                "eventVersion": "1.1",
            }
        )

    def split(self, shard_id: str, *children: str) -> None:
        """Close a shard and let its children follow."""
        self._shards[shard_id].last = self._number
        for child in children:
            self._shards[child] = _Shard(shard_id, int(self._next_number()))

    def hold(self, *shard_ids: str) -> None:
        """Delay the answers to requests for records of these shards."""
        for shard_id in shard_ids:
            self._shards[shard_id].gate.clear()

    def release(self, *shard_ids: str) -> None:
        """Answer the delayed requests."""
        for shard_id in shard_ids:
            self._shards[shard_id].gate.set()

    def fail(self, shard_id: str, reply: Reply, times: int = 1) -> None:
        """Answer so many requests for records of a shard with this failure."""
        self._shards[shard_id].faults = [reply] * times

    def trim(self, shard_id: str) -> None:
        """Drop the records of a shard, as a day later."""
        shard = self._shards[shard_id]
        shard.trimmed = len(shard.records)

    def expire_iterators(self) -> None:
        """End every iterator given out, as a quarter of an hour later."""
        self._iterators.clear()

    async def _describe(self, request: dict[str, Any], ask: Ask) -> Reply:
        parent = request.get("ShardFilter", {}).get("ShardId", "").removeprefix(_PREFIX)
        listed = [name for name, one in self._shards.items() if not parent or one.parent == parent]
        if "ExclusiveStartShardId" in request:
            last = request["ExclusiveStartShardId"].removeprefix(_PREFIX)
            listed = listed[listed.index(last) + 1 :]
        now, later = listed[:_SHARDS_AT_ONCE], listed[_SHARDS_AT_ONCE:]
        description = {
            "StreamArn": request["StreamArn"],
            "StreamStatus": "ENABLED",
            "StreamViewType": "NEW_AND_OLD_IMAGES",
            "Shards": [_described(shard_id, self._shards[shard_id]) for shard_id in now],
        }
        if later:
            description["LastEvaluatedShardId"] = _PREFIX + now[-1]
        return reply_with({"StreamDescription": description})

    async def _iterator(self, request: dict[str, Any], ask: Ask) -> Reply:
        shard_id = request["ShardId"].removeprefix(_PREFIX)
        shard = self._shards[shard_id]
        match request["ShardIteratorType"]:
            case "LATEST":
                at = len(shard.records)
            case "TRIM_HORIZON":
                at = shard.trimmed
            case "AT_TIMESTAMP":
                if not self.knows_times or request["Timestamp"] > time.time():
                    return refusal("ValidationException")
                times = [one["dynamodb"]["ApproximateCreationDateTime"] for one in shard.records]
                at = max(shard.trimmed, bisect_left(times, request["Timestamp"]))
            case _:
                numbers = [record["dynamodb"]["SequenceNumber"] for record in shard.records]
                at = numbers.index(request["SequenceNumber"]) + 1
        return reply_with({"ShardIterator": self._new_iterator(shard_id, at)})

    async def _records(self, request: dict[str, Any], ask: Ask) -> Reply:
        if request["ShardIterator"] not in self._iterators:
            return refusal("ExpiredIteratorException")
        shard_id, at = self._iterators[request["ShardIterator"]]
        shard = self._shards[shard_id]
        self.asked.add(shard_id)
        if shard.parent is not None and not self._shards[shard.parent].read:
            self.early.add(shard_id)
        await shard.gate.wait()
        if shard.faults:
            return shard.faults.pop()
        if at < shard.trimmed:
            return refusal("TrimmedDataAccessException")
        content: dict[str, Any] = {"Records": shard.records[at:]}
        shard.read = shard.last is not None
        if not shard.read:
            content["NextShardIterator"] = self._new_iterator(shard_id, len(shard.records))
        return reply_with(content)

    def _next_number(self) -> str:
        self._number += 1
        return str(self._number)

    def _new_iterator(self, shard_id: str, at: int) -> str:
        name = f"{shard_id}|{at}|{len(self._iterators)}"
        self._iterators[name] = (shard_id, at)
        return name


def _described(shard_id: str, shard: _Shard) -> dict[str, Any]:
    numbers = {"StartingSequenceNumber": str(shard.first)}
    if shard.last is not None:
        numbers["EndingSequenceNumber"] = str(shard.last)
    described: dict[str, Any] = {"ShardId": _PREFIX + shard_id, "SequenceNumberRange": numbers}
    if shard.parent is not None:
        described["ParentShardId"] = _PREFIX + shard.parent
    return described
