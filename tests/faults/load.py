"""A mixed load of calls whose right answers are known, and what became of it."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

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
from tests.support.running import Refusal, Service, numbers, query_spec, refusal_of

DEADLINE: Final = 1.0  # of each call, in seconds
USERS: Final = tuple(f"u-{number}" for number in range(12))
EVENTS: Final = list(range(1, 9))  # of each user
_BYPASS: Final = query_pb2.CachePolicy(mode=query_pb2.CACHE_MODE_BYPASS)


def events_schema(table: str) -> Schema:
    """Return a table of events by user."""
    return Schema(table, "user_id", "seq", (), {"user_id": "S", "seq": "N"})


def events_items() -> list[dict[str, Any]]:
    """Return every event."""
    note = {"S": "n" * 100}
    return [
        {"user_id": {"S": user}, "seq": {"N": str(seq)}, "note": note}
        for user in USERS
        for seq in EVENTS
    ]


@dataclass
class Outcome:
    """What became of calls: how many were answered rightly, how the others failed, and how late."""

    right: int = 0
    wrong: list[Any] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    latest: float = 0.0

    @property
    def calls(self) -> int:
        """How many calls there were."""
        return self.right + len(self.wrong) + len(self.refusals)

    @property
    def codes(self) -> Counter[str]:
        """How calls failed."""
        return Counter(refusal.code.name for refusal in self.refusals)


class Load:
    """Calls of every kind that reads, each of which takes one request to DynamoDB if not cached."""

    def __init__(self, service: Service, seed: int) -> None:
        self._service = service
        self._random = random.Random(seed)

    async def run(self, calls: int, at_once: int) -> Outcome:
        """Make calls, so many at the same time."""
        outcome = Outcome()
        kinds = (self._fresh, self._cached, self._count, self._get, self._stream)
        work = [(kinds[n % len(kinds)], self._random.choice(USERS)) for n in range(calls)]

        async def some() -> None:
            while work:
                kind, user = work.pop()
                await measure(outcome, kind(user))

        await asyncio.gather(*(some() for _ in range(at_once)))
        return outcome

    async def read(self, user: str) -> Outcome:
        """Make one call that is not answered from the cache."""
        outcome = Outcome()
        await measure(outcome, self._fresh(user))
        return outcome

    async def _ask(self, call: Callable[..., Awaitable[Any]], request: Any) -> Any:
        return await call(request, metadata=self._service.metadata(), timeout=DEADLINE)

    async def _fresh(self, user: str) -> list[int]:
        request = QueryRequest(query=_events_of(user), cache=_BYPASS)
        page = await self._ask(self._service.queries.Query, request)
        return [] if page.next_page_token else numbers(page.items, "seq")

    async def _cached(self, user: str) -> list[int]:
        page = await self._ask(self._service.queries.Query, QueryRequest(query=_events_of(user)))
        return [] if page.next_page_token else numbers(page.items, "seq")

    async def _count(self, user: str) -> list[int]:
        request = CountItemsRequest(query=_events_of(user), cache=_BYPASS)
        answer = await self._ask(self._service.queries.CountItems, request)
        return EVENTS if answer.total.value == len(EVENTS) else [answer.total.value]

    async def _get(self, user: str) -> list[int]:
        keys = [
            Item(attributes={"user_id": AttributeValue(s=user), "seq": AttributeValue(n=str(seq))})
            for seq in EVENTS
        ]
        request = BatchGetItemsRequest(table="events", keys=keys)
        answer = await self._ask(self._service.queries.BatchGetItems, request)
        return numbers([result.item for result in answer.results], "seq")

    async def _stream(self, user: str) -> list[int]:
        request = StreamQueryRequest(query=_events_of(user), cache=_BYPASS)
        metadata = self._service.metadata()
        call: Any = self._service.queries.StreamQuery(request, metadata=metadata, timeout=DEADLINE)
        seen: list[int] = []
        async for message in call:
            seen += numbers(message.items, "seq")
        return seen


def _events_of(user: str) -> query_pb2.QuerySpec:
    return query_spec("events", "user_id = :user", parameters={"user": user})


async def measure(outcome: Outcome, call: Awaitable[Sequence[int]]) -> None:
    """Await one call and take note of what became of it."""
    began = time.monotonic()
    try:
        seen = list(await call)
    except grpc.aio.AioRpcError as error:
        outcome.refusals.append(refusal_of(error))
    else:
        if seen == EVENTS:
            outcome.right += 1
        else:
            outcome.wrong.append(seen)
    outcome.latest = max(outcome.latest, time.monotonic() - began)
