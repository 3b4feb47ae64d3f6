"""A mixed load of calls with known answers, and its outcome."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import grpc

from dynamodb_processor.v1 import query_pb2
from dynamodb_processor.v1.query_service_pb2 import (
    BatchGetItemsRequest,
    CountItemsRequest,
    QueryRequest,
    StreamQueryRequest,
)
from dynamodb_processor.v1.value_pb2 import AttributeValue, Item
from tests.support.datasets import Schema
from tests.support.lengths import at_length
from tests.support.running import Refusal, Service, numbers, query_spec, refusal_of

DEADLINE: Final = at_length(30.0, 1.0)  # Of each call, in seconds.
_PAUSE: Final = 0.02  # Seconds between one caller's calls.
USERS: Final = tuple(f"u-{number}" for number in range(12))
EVENTS: Final = list(range(1, 9))  # Of each user.
BYPASS: Final = query_pb2.CachePolicy(mode=query_pb2.CACHE_MODE_BYPASS)

_T = TypeVar("_T")


def events_schema(table: str) -> Schema:
    """Return a table of events by user."""
    return Schema(table, "user_id", "seq", (), {"user_id": "S", "seq": "N"})


def event(user: str, seq: int) -> dict[str, Any]:
    """Return one event."""
    return {"user_id": {"S": user}, "seq": {"N": str(seq)}, "note": {"S": "n" * 100}}


def events_items() -> list[dict[str, Any]]:
    """Return every event."""
    return [event(user, seq) for user in USERS for seq in EVENTS]


@dataclass
class Outcome:
    """The outcome of calls: the right answers, the other failures, and the latencies."""

    right: int = 0
    wrong: list[Any] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    latest: float = 0.0

    @property
    def calls(self) -> int:
        """The number of calls."""
        return self.right + len(self.wrong) + len(self.refusals)

    @property
    def codes(self) -> Counter[str]:
        """The codes of failed calls."""
        return Counter(refusal.code.name for refusal in self.refusals)

    @property
    def honest(self) -> bool:
        """Whether every failure has the service's details, and nobody else's words."""
        return all(
            refusal.code.name == "DEADLINE_EXCEEDED"
            or ("ErrorInfo" in refusal.details and "internal:" not in refusal.message)
            for refusal in self.refusals
        )


class Reads:
    """Reads of a user's events by every method; each returns the events' numbers.

    Each takes one request to DynamoDB where it is not answered from the cache.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    async def page(self, user: str, policy: query_pb2.CachePolicy | None = None) -> list[int]:
        """Read them as one page."""
        request = QueryRequest(query=_events_of(user), cache=policy)
        page = await self._ask(self._service.queries.Query, request)
        return [] if page.next_page_token else numbers(page.items, "seq")

    async def count(self, user: str, policy: query_pb2.CachePolicy | None = None) -> list[int]:
        """Count them; their numbers begin at 1."""
        request = CountItemsRequest(query=_events_of(user), cache=policy)
        answer = await self._ask(self._service.queries.CountItems, request)
        return list(range(1, answer.total.value + 1))

    async def get(
        self, user: str, most: int, policy: query_pb2.CachePolicy | None = None
    ) -> list[int]:
        """Get those whose numbers are at most `most`."""
        keys = [
            Item(attributes={"user_id": AttributeValue(s=user), "seq": AttributeValue(n=str(seq))})
            for seq in range(1, most + 1)
        ]
        request = BatchGetItemsRequest(table="events", keys=keys, cache=policy)
        answer = await self._ask(self._service.queries.BatchGetItems, request)
        return numbers([each.item for each in answer.results if each.HasField("item")], "seq")

    async def stream(self, user: str, policy: query_pb2.CachePolicy | None = None) -> list[int]:
        """Read them as a stream."""
        request = StreamQueryRequest(query=_events_of(user), cache=policy)
        metadata = self._service.metadata()
        call: Any = self._service.queries.StreamQuery(request, metadata=metadata, timeout=DEADLINE)
        seen: list[int] = []
        async for message in call:
            seen += numbers(message.items, "seq")
        return seen

    async def _ask(self, call: Callable[..., Awaitable[Any]], request: Any) -> Any:
        return await call(request, metadata=self._service.metadata(), timeout=DEADLINE)


def _events_of(user: str) -> query_pb2.QuerySpec:
    return query_spec("events", "user_id = :user", parameters={"user": user})


class Load:
    """Reads of every kind, of events that do not change; one in five may be a hit."""

    def __init__(self, service: Service, seed: int) -> None:
        self._reads = Reads(service)
        self._random = random.Random(seed)
        self._numbers = itertools.count()

    async def run(self, calls: int, at_once: int) -> Outcome:
        """Make calls, so many at the same time."""
        outcome = Outcome()
        numbers = iter(range(calls))

        async def some() -> None:
            for _ in numbers:
                await self._call(outcome)

        await asyncio.gather(*(some() for _ in range(at_once)))
        return outcome

    async def run_for(self, seconds: float, at_once: int, at_least: int) -> Outcome:
        """Begin calls for so many seconds, with a pause between those of each caller.

        On a slow machine it takes longer, until `at_least` calls have ended.
        """
        outcome = Outcome()
        until = time.monotonic() + seconds

        async def some() -> None:
            while time.monotonic() < until or outcome.calls < at_least:
                await self._call(outcome)
                await asyncio.sleep(_PAUSE)

        await asyncio.gather(*(some() for _ in range(at_once)))
        return outcome

    async def _call(self, outcome: Outcome) -> None:
        reads, user = self._reads, self._random.choice(USERS)
        match next(self._numbers) % 5:
            case 0:
                call = reads.page(user, BYPASS)
            case 1:
                call = reads.count(user, BYPASS)
            case 2:
                call = reads.get(user, len(EVENTS), BYPASS)
            case 3:
                call = reads.stream(user, BYPASS)
            case _:
                call = reads.page(user)
        await measure(outcome, call, _is_right)

    async def read(self, user: str) -> Outcome:
        """Make one call that is not answered from the cache."""
        outcome = Outcome()
        await measure(outcome, self._reads.page(user, BYPASS), _is_right)
        return outcome

    async def has_cached(self, user: str) -> bool:
        """Return whether a call that may be answered from the cache is answered correctly."""
        return _is_right(await self._reads.page(user))


def _is_right(seen: list[int]) -> bool:
    return seen == EVENTS


async def measure(outcome: Outcome, call: Awaitable[_T], is_right: Callable[[_T], bool]) -> bool:
    """Await one call and record its outcome; return whether the answer is right."""
    began = time.monotonic()
    right = False
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        outcome.refusals.append(refusal_of(error))
    else:
        right = is_right(answer)
        if right:
            outcome.right += 1
        else:
            outcome.wrong.append(answer)
    outcome.latest = max(outcome.latest, time.monotonic() - began)
    return right
