"""A scenario of the acceptance test, and the deployment that it tests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from dynamodb_processor_client import CacheMode, CachePolicy, Item, Query, QueryClient, Table, Value

#: Reads from DynamoDB without a look-up in the cache.
UNCACHED = CachePolicy(mode=CacheMode.BYPASS)


class Unmet(Exception):
    """The deployment does not keep the promise; the text says how."""


class NotRun(Exception):
    """The scenario cannot be run here; the text names its need."""


def expect(condition: object, unmet: str) -> None:
    """Raise Unmet with the text if the condition is false."""
    if not condition:
        raise Unmet(unmet)


@dataclass(frozen=True, slots=True)
class LoadBounds:
    """The load of the load scenario, and the results that it must have.

    Attributes:
        calls: Number of calls.
        concurrency: Calls in progress at once.
        seconds: Largest allowed 95th percentile of latency.
        failed: Largest allowed part of calls that fail.
        hits: Smallest allowed part of calls that a cache answers.
        patience: Longest time in seconds that the calls may wait for the caller's rate class.
    """

    calls: int = 1_000
    concurrency: int = 100
    seconds: float = 0.5
    failed: float = 0.01
    hits: float = 0.8
    patience: float = 60.0


@dataclass(frozen=True)
class Deployment:
    """A deployment with the items that the scenarios query.

    Attributes:
        client: Its client, with the caller's key.
        connect: Returns a client with another key, or without one.
        status_of: Returns the serving status of a health name.
        table: The queried table.
        query: The query that all scenarios begin with.
        items: All items of the query, read once without the cache.
        admin_key: A key with the role `admin`; None if there is none.
        limited_key: A key whose rate class is low; None if there is none.
        load: The load and its bounds.
        clock: Returns seconds, for latencies and waits.
        sleep: Waits for some seconds of that clock.
    """

    client: QueryClient
    connect: Callable[[str | None], QueryClient]
    status_of: Callable[[str], Awaitable[str]]
    table: Table
    query: Query
    items: Sequence[Item]
    admin_key: str | None = None
    limited_key: str | None = None
    load: LoadBounds = LoadBounds()
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    def with_condition(self, condition: str, **values: Value) -> Query:
        """Return the query with a further condition."""
        return Query(
            self.query.table,
            f"({self.query.expression}) AND {condition}",
            parameters={**self.query.parameters, **values},
        )

    def with_query(self, **changes: object) -> Query:
        """Return the query with other attributes, such as `descending`."""
        return Query(
            self.query.table,
            self.query.expression,
            parameters=self.query.parameters,
            **changes,  # type: ignore[arg-type]
        )

    @cached_property
    def key_names(self) -> tuple[str, ...]:
        """The attributes of the table's primary key."""
        key = self.table.key
        return tuple(attribute.name for attribute in (*key.partition, *key.sort))

    async def read(self, query: Query, page_size: int = 0) -> list[Item]:
        """Return all items of a query, read without the cache."""
        stream = self.client.stream(query, page_size=page_size, cache=UNCACHED)
        return [item async for item in stream]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One promise of the service, and the check that a deployment keeps it.

    Attributes:
        name: Its name in the report.
        promise: The promise, as a sentence.
        check: Returns the evidence; raises Unmet or NotRun.
    """

    name: str
    promise: str
    check: Callable[[Deployment], Awaitable[str]]


def difference(expected: Sequence[Item], actual: Sequence[Item]) -> str:
    """Return how two sequences of items differ; empty if they do not. No item is shown."""
    if list(expected) == list(actual):
        return ""
    missing = [item for item in expected if item not in actual]
    foreign = [item for item in actual if item not in expected]
    if missing or foreign:
        return (
            f"{len(actual)} items instead of {len(expected)}: "
            f"{len(missing)} are missing, {len(foreign)} do not belong there"
        )
    if len(actual) != len(expected):
        return f"{len(actual)} items instead of {len(expected)}: some came twice"
    return "the right items in another order"
