"""Sessions: reads that show their user's own writes, and that never go back in time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, Unpack, overload

from dynamodb_processor_client import argument_checks as check
from dynamodb_processor_client.freshness import SessionPolicy
from dynamodb_processor_client.options import Budget, CachePolicy, Timeout, TotalOption
from dynamodb_processor_client.session_state import SessionState

if TYPE_CHECKING:
    from dynamodb_processor_client.client import QueryClient
    from dynamodb_processor_client.counts import Count
    from dynamodb_processor_client.gets import FoundItems
    from dynamodb_processor_client.model_streams import ModelStream
    from dynamodb_processor_client.pages import Page
    from dynamodb_processor_client.query import Query
    from dynamodb_processor_client.streams import ItemStream, PageStream
    from dynamodb_processor_client.values import Value

_Model = TypeVar("_Model")


class GetOptions(TypedDict, total=False):
    """The options of `get`."""

    projection: Sequence[str]
    consistent: bool
    cache: CachePolicy | None
    timeout: Timeout


class _ReadOptions(TypedDict, total=False):
    budget: Budget | None
    cache: CachePolicy | None
    timeout: Timeout


class QueryOptions(_ReadOptions, total=False):
    """The options of `query`."""

    page_size: int
    page_token: str
    total: TotalOption


class StreamOptions(_ReadOptions, total=False):
    """The options of `pages` and `stream`."""

    page_size: int
    resume_token: str
    total: TotalOption


class CountOptions(_ReadOptions, total=False):
    """The options of `count`."""

    up_to: int | None
    page_token: str


class Session:
    """Reads for one user or one request, in an order that makes sense to it.

        session = client.session()
        page = await session.query(query)
        table.put_item(Item=item)  # with boto3
        session.wrote()
        page = await session.query(query)  # shows the item
        response.set_cookie("freshness", session.token)  # the next request continues from it

    - A read begun after another one has returned shows nothing older of the same table. It may come
      from the cache, and from any replica.
    - A read after `wrote` shows every write that was finished by then.

    The methods are those of `QueryClient`, with the same options. Calls may overlap, in tasks and
    in threads. A stream that breaks is resumed with the bounds of that moment. A session holds no
    connection: it needs no closing.

    Global indexes are read eventually, so nothing is promised for them, except where the service
    follows the table's stream. docs/guide/caching.md has the costs.
    """

    def __init__(self, client: QueryClient, state: SessionState) -> None:
        """Make a session; `QueryClient.session` is the public way."""
        self._client = client
        self._state = state

    @property
    def token(self) -> str:
        """The state as text, with which `QueryClient.session` continues in another process.

        It has letters, digits, `-` and `_` alone, and is empty if nothing was read or written. It
        is not signed.
        """
        return self._state.to_text()

    def wrote(self, *tables: str, at: datetime | None = None) -> None:
        """Have later reads of these tables, or of all tables, show each write until now.

        Call it when the write has returned. `at` is the time of an earlier write, such as one that
        another service has reported. The time is that of this machine's clock, which may be behind
        the service's by the setting `cache_clock_skew` at most.

        Raises:
            TypeError: A table is not a string, or `at` not a `datetime`.
            ValueError: `at` has no time zone, or is outside of the years 1 to 9999 in UTC.
        """
        for table in tables:
            check.text("table", table)
        self._state.wrote(tables, None if at is None else check.aware_time("at", at))

    async def query(self, query: Query, **options: Unpack[QueryOptions]) -> Page:
        """Return one page, as `QueryClient.query` does."""
        options["cache"] = self._policy(options.get("cache"))
        return await self._client.query(query, **options)

    def pages(self, query: Query, **options: Unpack[StreamOptions]) -> PageStream:
        """Return every page, as `QueryClient.pages` does."""
        options["cache"] = self._policy(options.get("cache"))
        return self._client.pages(query, **options)

    @overload
    def stream(
        self, query: Query, *, as_: None = None, **options: Unpack[StreamOptions]
    ) -> ItemStream: ...

    @overload
    def stream(
        self, query: Query, *, as_: type[_Model], **options: Unpack[StreamOptions]
    ) -> ModelStream[_Model]: ...

    def stream(
        self, query: Query, *, as_: type[Any] | None = None, **options: Unpack[StreamOptions]
    ) -> ItemStream | ModelStream[Any]:
        """Return every item, as `QueryClient.stream` does."""
        options["cache"] = self._policy(options.get("cache"))
        if as_ is None:
            return self._client.stream(query, **options)
        return self._client.stream(query, as_=as_, **options)

    async def count(self, query: Query, **options: Unpack[CountOptions]) -> Count:
        """Return how many items match, as `QueryClient.count` does."""
        options["cache"] = self._policy(options.get("cache"))
        return await self._client.count(query, **options)

    async def get(
        self, table: str, keys: Iterable[Mapping[str, Value]], **options: Unpack[GetOptions]
    ) -> FoundItems:
        """Return the item of each primary key, as `QueryClient.get` does."""
        options["cache"] = self._policy(options.get("cache"))
        return await self._client.get(table, keys, **options)

    def _policy(self, cache: CachePolicy | None) -> SessionPolicy:
        policy = check.instance("cache", cache, CachePolicy) or CachePolicy()
        return SessionPolicy(
            policy.mode,
            policy.max_staleness,
            policy.not_before,
            policy.not_before_token,
            self._state,
        )
