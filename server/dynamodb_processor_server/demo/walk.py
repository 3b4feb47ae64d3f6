"""The walk: a client's calls that show the service step by step, and check its answers."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import Final

from dynamodb_processor.v1.query_service_pb2 import DESCRIPTOR
from dynamodb_processor_client import (
    CacheStatus,
    FailedPrecondition,
    Item,
    Page,
    Query,
    QueryClient,
    QueryError,
    Unauthenticated,
)
from dynamodb_processor_server.auth.keys_file import new_key
from dynamodb_processor_server.demo import activity
from dynamodb_processor_server.demo.audit_events import BY_SYSTEM, BY_USER
from dynamodb_processor_server.demo.connection import Connection
from dynamodb_processor_server.demo.example_call import ExampleCall
from dynamodb_processor_server.demo.failure import DemoFailed
from dynamodb_processor_server.demo.flights import BY_AIRCRAFT
from dynamodb_processor_server.demo.sample_table import SampleTable
from dynamodb_processor_server.demo.screen import Screen

_METHODS: Final = DESCRIPTOR.services_by_name["QueryService"].methods_by_name
_EVENT_COLUMNS: Final = ("occurred_at", "user_id", "action", "resource_id", "outcome")
_FLIGHT_COLUMNS: Final = ("departure", "tailnum", "dest", "dep_delay", "distance")
_SHOWN: Final = 5  # items of a page on the screen, at most

UNITED: Final = ExampleCall(Query("flights", "carrier = :c", c="UA"), page_size=3)


class Walk:
    """Queries the sample tables through the service, and compares the answers with the samples."""

    def __init__(
        self,
        client: QueryClient,
        connection: Connection,
        events: SampleTable,
        flights: SampleTable,
        screen: Screen,
    ) -> None:
        """Prepare the walk.

        Args:
            client: An open client of the service.
            connection: The address of the service, and the API key.
            events: The items of the table of audit events.
            flights: The items of the table of flights.
            screen: The terminal that shows the walk.
        """
        self._client = client
        self._connection = connection
        self._events = events
        self._flights = flights
        self._screen = screen

    async def run(self) -> int:
        """Take every step and return their number.

        Raises:
            DemoFailed: The answers in a step are not the expected ones.
        """
        steps: Sequence[tuple[str, Callable[[], Awaitable[None]]]] = (
            ("What one user did", self._one_user),
            ("In one week, newest first: the range becomes part of the key", self._date_range),
            ("What was done in one system: another index, chosen by the service", self._system),
            ("A condition of your own: the service filters, pages stay full", self._own_filter),
            ("Page by page: the token says where the next one begins", self._paging),
            ("One aircraft's flights on 2 January, by UTC", self._aircraft),
            ("One table, composed keys: asked by fields, as the catalog names them", self._fields),
            ("Everything, as a stream: each message can be resumed from", self._stream),
            ("The same query twice: the second answer comes from the cache", self._cache),
            ("A query that would read the whole table is refused", self._refused_scan),
            ("A key that nobody knows", self._wrong_key),
        )
        for number, (title, step) in enumerate(steps, 1):
            self._screen.title(f"{number}. {title}")
            try:
                await step()
            except QueryError as error:
                raise DemoFailed(f"step {number}, {title}: {error}") from error
            except _NotAsPromised as error:
                raise DemoFailed(f"step {number}, {title}: {error}") from None
        return len(steps)

    async def _one_user(self) -> None:
        call = ExampleCall(Query("audit_events", "user_id = :u", u="u-1"), page_size=5)
        expected = list(self._events.partition("u-1", BY_USER))
        await self._first_page(call, expected, BY_USER, _EVENT_COLUMNS)

    async def _date_range(self) -> None:
        first, last = "2026-02-02T00:00:00Z", "2026-02-08T23:59:59Z"
        query = Query(
            "audit_events",
            "user_id = :u AND occurred_at BETWEEN :first AND :last",
            u="u-1",
            first=first,
            last=last,
            descending=True,
        )
        events = self._events.partition("u-1", BY_USER)
        expected = [event for event in events if first <= event["occurred_at"] <= last]
        call = ExampleCall(query, page_size=5)
        await self._first_page(call, expected[::-1], BY_USER, _EVENT_COLUMNS)

    async def _system(self) -> None:
        call = ExampleCall(Query("audit_events", "system_id = :s", s="billing"), page_size=5)
        expected = list(self._events.partition("billing", BY_SYSTEM))
        await self._first_page(call, expected, BY_SYSTEM, (*_EVENT_COLUMNS, "amount"))

    async def _own_filter(self) -> None:
        query = Query(
            "audit_events",
            "system_id = :s AND outcome <> :fine AND amount >= :a AND NOT contains(tags, :t)",
            s="billing",
            fine="success",
            a=500,
            t="test",
        )
        expected = [
            event
            for event in self._events.partition("billing", BY_SYSTEM)
            if event["outcome"] != "success"
            and event["amount"] >= 500
            and "test" not in event.get("tags", ())
        ]
        columns = ("occurred_at", "resource_id", "outcome", "amount", "tags")
        call = ExampleCall(query, page_size=5)
        page = await self._first_page(call, expected, BY_SYSTEM, columns)
        _expect(page.stats.items_scanned > len(page.items), "nothing was filtered")

    async def _paging(self) -> None:
        expected = list(self._flights.partition("UA"))
        first = await self._first_page(UNITED, expected, None, _FLIGHT_COLUMNS)
        second = UNITED.after(first.next_page_token)
        await self._first_page(second, expected[len(first.items) :], None, _FLIGHT_COLUMNS)

    async def _aircraft(self) -> None:
        query = Query(
            "flights",
            "tailnum = :t AND begins_with(time_hour, :day)",
            t="N730MQ",
            day="2013-01-02",
        )
        expected = [
            flight
            for flight in self._flights.partition("N730MQ", BY_AIRCRAFT)
            if flight["time_hour"].startswith("2013-01-02")
        ]
        await self._first_page(ExampleCall(query), expected, BY_AIRCRAFT, _FLIGHT_COLUMNS)

    async def _fields(self) -> None:
        first, last = "2026-01-05", "2026-01-12T12:00:00+01:00"
        query = Query(
            "activity",
            "system_id = :s AND occurred_at BETWEEN :first AND :last",
            s="billing",
            first=first,
            last=last,
        )
        expected = [
            event
            for event in activity.seen(self._events)
            if event["system_id"] == "billing"
            and "2026-01-05T00:00:00Z" <= event["occurred_at"] <= "2026-01-12T11:00:00Z"
        ]
        call = ExampleCall(query, page_size=5)
        await self._first_page(call, expected, activity.BY_SYSTEM, _EVENT_COLUMNS)

    async def _stream(self) -> None:
        call = ExampleCall(Query("audit_events", "system_id = :s", s="crm"), page_size=250)
        self._screen.call(f"async for page in {call.python('pages')}: ...")
        found: list[Item] = []
        pages = call.run_all(self._client)
        started = time.perf_counter()
        async for page in pages:
            found += page.items
            seconds = time.perf_counter() - started
            self._screen.note(
                f"{len(page.items):4} items, {pages.stats.items_returned:5,} so far, "
                f"read units {pages.stats.read_units:g}, {len(found) / seconds:,.0f} items/s"
            )
        request = call.stream_request()
        self._screen.command(self._connection.grpcurl(_METHODS["StreamQuery"], request))
        expected = list(self._events.partition("crm", BY_SYSTEM))
        _expect(found == expected, "the stream is not the items of the sample, in order")
        _expect(not pages.resume_token, "the stream has ended with more to come")

    async def _cache(self) -> None:
        call = ExampleCall(
            Query("flights", "carrier = :c AND dep_delay > :minutes", c="B6", minutes=30)
        )
        expected = [
            flight for flight in self._flights.partition("B6") if flight.get("dep_delay", 0) > 30
        ]
        self._screen.call(f"page = await {call.python()}")
        miss, slow = await self._timed(call)
        self._screen.stats(miss.stats, miss.cache, slow)
        hit, fast = await self._timed(call)
        self._screen.stats(hit.stats, hit.cache, fast)
        self._screen.note(f"{slow / fast:.0f} times as fast, and DynamoDB was not asked")
        self._screen.command(self._connection.grpcurl(_METHODS["Query"], call.request()))
        _expect(miss.cache.status is CacheStatus.MISS, "the first answer was cached before")
        _expect(hit.cache.status is CacheStatus.HIT, "the second answer was not cached")
        used = (hit.stats.read_units, hit.stats.backend_calls)
        _expect(miss.stats.read_units > 0 and used == (0, 0), "the hit was not free")
        page_size = len(hit.items)
        _expect(hit.items == miss.items, "the two answers differ")
        _expect(list(hit.items) == expected[:page_size], "the answers are not the sample's flights")

    async def _refused_scan(self) -> None:
        call = ExampleCall(Query("audit_events", "outcome = :o", o="denied"))
        await self._refused(self._client, self._connection, call, FailedPrecondition)

    async def _wrong_key(self) -> None:
        wrong = self._connection.with_key(new_key()[0])
        async with wrong.client() as client:
            await self._refused(client, wrong, UNITED, Unauthenticated)

    async def _first_page(
        self,
        call: ExampleCall,
        expected: Sequence[Item],
        index: str | None,
        columns: Sequence[str],
    ) -> Page:
        """Show a page and check that it begins with the expected items."""
        self._screen.call(f"page = await {call.python()}")
        page, seconds = await self._timed(call)
        self._screen.items(page.items[:_SHOWN], columns)
        self._screen.stats(page.stats, page.cache, seconds)
        self._screen.command(self._connection.grpcurl(_METHODS["Query"], call.request()))
        size = call.page_size or len(expected)
        _expect(
            list(page.items) == list(islice(expected, size)), "these are not the sample's items"
        )
        _expect(bool(page.items), "there are no items")
        if len(expected) > size:
            _expect(bool(page.next_page_token), "there is no token, but there are more items")
        _expect(page.stats.index_used == index, f"another index was read than {index or '@table'}")
        return page

    async def _refused(
        self,
        client: QueryClient,
        connection: Connection,
        call: ExampleCall,
        refusal: type[QueryError],
    ) -> None:
        """Show the message of a refusal, and check that it has this type."""
        self._screen.call(f"page = await {call.python()}")
        try:
            await call.run(client)
        except refusal as error:
            self._screen.refusal(str(error))
        else:
            raise _NotAsPromised(f"the service did not refuse it with {refusal.__name__}")
        self._screen.command(connection.grpcurl(_METHODS["Query"], call.request()))

    async def _timed(self, call: ExampleCall) -> tuple[Page, float]:
        started = time.perf_counter()
        page = await call.run(self._client)
        return page, time.perf_counter() - started


class _NotAsPromised(Exception):
    """The answers in a step are not the expected ones."""


def _expect(holds: bool, complaint: str) -> None:
    if not holds:
        raise _NotAsPromised(complaint)
