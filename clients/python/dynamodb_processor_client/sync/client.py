# Written by `make proto` from the asynchronous client's `client.py`. Do not edit.
"""The client: one channel to the service, with a method for each of its calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, overload

from dynamodb_processor.v1.cache_service_pb2 import GetCacheStatsRequest
from dynamodb_processor.v1.cache_service_pb2_grpc import CacheServiceStub
from dynamodb_processor.v1.catalog_service_pb2 import GetTableRequest
from dynamodb_processor.v1.catalog_service_pb2_grpc import CatalogServiceStub
from dynamodb_processor.v1.query_service_pb2 import (
    BatchGetItemsRequest,
    CountItemsRequest,
    ExplainQueryRequest,
    QueryRequest,
    StreamQueryRequest,
)
from dynamodb_processor.v1.query_service_pb2_grpc import QueryServiceStub
from dynamodb_processor_client import argument_checks as check
from dynamodb_processor_client.caches import CacheStats, invalidation
from dynamodb_processor_client.counts import Count
from dynamodb_processor_client.explanations import Explanation
from dynamodb_processor_client.freshness import OperationTokens
from dynamodb_processor_client.gets import FoundItems, key_messages
from dynamodb_processor_client.options import (
    UNSET,
    Budget,
    CachePolicy,
    Timeout,
    TotalOption,
    budget_message,
    consistency,
    page_size_field,
    token_field,
    total_options,
)
from dynamodb_processor_client.pages import Page
from dynamodb_processor_client.query import Query, query_message
from dynamodb_processor_client.session_state import SessionState
from dynamodb_processor_client.sync.connection import Connection
from dynamodb_processor_client.sync.counting import count_all
from dynamodb_processor_client.sync.deadlines import Deadline
from dynamodb_processor_client.sync.fresh_calls import call_with_bounds
from dynamodb_processor_client.sync.getting import get_all
from dynamodb_processor_client.sync.listing import list_all
from dynamodb_processor_client.sync.model_streams import ModelStream
from dynamodb_processor_client.sync.sessions import Session
from dynamodb_processor_client.sync.streams import ItemStream, PageStream
from dynamodb_processor_client.tables import Table, TableSummary
from dynamodb_processor_client.trace_context import trace_metadata
from dynamodb_processor_client.values import Value

if TYPE_CHECKING:
    from dynamodb_processor_client.sync.transport import StreamCall

_Model = TypeVar("_Model")


class QueryClient(Connection):
    """Reads DynamoDB tables through the service.

        with QueryClient("localhost:50051", api_key=key) as client:
            for item in client.stream(Query("audit_events", "user_id = :u", u="u-1")):
                ...

    Open one client and share it: its one channel balances calls over every address of the target.
    Many threads can use it at once. A stream belongs to one thread; any may close it.

    A `Query` says which items to read. The methods that take one have these options:

    - `page_size`: items per page; 0 for the table's default.
    - `page_token`, `resume_token`: the token of the page before; empty for the first page.
    - `budget`: limits on the cost of the call.
    - `cache`: whether and how a cached answer may be used. `session` sets its bounds on age.
    - `total`: `"exact"` to count all matching items as well, a number to stop counting there. Pages
      and streams then have a `total`.
    - `timeout`: seconds until the deadline, `None` for no deadline. It covers one call; all calls
      that a count or a get needs; or a whole stream, with its resumptions and the time that the
      caller spends on the items.

    Every method raises `TypeError` or `ValueError` for a wrong argument, and `QueryError` for an
    error of the service.
    """

    def query(
        self,
        query: Query,
        *,
        page_size: int = 0,
        page_token: str = "",
        budget: Budget | None = None,
        cache: CachePolicy | None = None,
        total: TotalOption = None,
        timeout: Timeout = UNSET,
    ) -> Page:
        """Return one page: the first, or the one at `page_token`."""
        request = QueryRequest(
            query=query_message(query),
            page_size=page_size_field(page_size),
            page_token=token_field("page_token", page_token),
            budget=budget_message(budget),
            total=total_options(total),
        )
        tokens = OperationTokens(cache, query.table)
        call = self._with_bounds(tokens, QueryServiceStub(self._open_channel()).Query)
        return Page.from_message(call(request, self._resolve_timeout(timeout)))

    def pages(
        self,
        query: Query,
        *,
        page_size: int = 0,
        resume_token: str = "",
        budget: Budget | None = None,
        cache: CachePolicy | None = None,
        total: TotalOption = None,
        timeout: Timeout = UNSET,
    ) -> PageStream:
        """Return every page, from the first or from `resume_token`, as the service reads them."""
        request = StreamQueryRequest(
            query=query_message(query),
            page_size=page_size_field(page_size),
            resume_token=token_field("resume_token", resume_token),
            total=total_options(total),
        )
        method = QueryServiceStub(self._open_channel()).StreamQuery

        def open_call(rest: StreamQueryRequest, seconds: float | None) -> StreamCall:
            self._open_channel()  # A stream may outlive its client, and then cannot be resumed.
            metadata = self._credential.metadata() + trace_metadata()
            if self._affinity is not None:
                more, seconds = self._affinity_metadata(self._affinity, rest, seconds)
                metadata += more
            return method(rest, timeout=seconds, metadata=metadata)

        return PageStream(
            open_call,
            request,
            tokens=OperationTokens(cache, query.table),
            budget=check.instance("budget", budget, Budget),
            timeout=self._resolve_timeout(timeout),
            policy=self._resume,
            renews_token=self._credential.is_renewed,
        )

    @overload
    def stream(
        self,
        query: Query,
        *,
        as_: None = None,
        page_size: int = 0,
        resume_token: str = "",
        budget: Budget | None = None,
        cache: CachePolicy | None = None,
        total: TotalOption = None,
        timeout: Timeout = UNSET,
    ) -> ItemStream: ...

    @overload
    def stream(
        self,
        query: Query,
        *,
        as_: type[_Model],
        page_size: int = 0,
        resume_token: str = "",
        budget: Budget | None = None,
        cache: CachePolicy | None = None,
        total: TotalOption = None,
        timeout: Timeout = UNSET,
    ) -> ModelStream[_Model]: ...

    def stream(
        self,
        query: Query,
        *,
        as_: type[_Model] | None = None,
        page_size: int = 0,
        resume_token: str = "",
        budget: Budget | None = None,
        cache: CachePolicy | None = None,
        total: TotalOption = None,
        timeout: Timeout = UNSET,
    ) -> ItemStream | ModelStream[_Model]:
        """Return every item, from the first or from `resume_token`, as the service reads them.

        With `as_`, a dataclass or a pydantic model, the items are instances of it. An item that
        does not fit raises `ItemMismatch`.
        """
        pages = self.pages(
            query,
            page_size=page_size,
            resume_token=resume_token,
            budget=budget,
            cache=cache,
            total=total,
            timeout=timeout,
        )
        items = ItemStream(pages)
        if as_ is None:
            return items
        return ModelStream(items, as_, partial(self._key_names, query.table))

    def count(
        self,
        query: Query,
        *,
        up_to: int | None = None,
        page_token: str = "",
        budget: Budget | None = None,
        cache: CachePolicy | None = None,
        timeout: Timeout = UNSET,
    ) -> Count:
        """Return how many items match: all of them, or at most `up_to`.

        A count costs as much as reading the items. Only a `budget` ends it early, with a token.
        After a timeout the error's `resume_token` continues the count. The order and the projection
        of the query make no difference.
        """
        request = CountItemsRequest(
            query=query_message(query),
            total=total_options(up_to),
            page_token=token_field("page_token", page_token),
        )
        tokens = OperationTokens(cache, query.table)
        call = self._with_bounds(tokens, QueryServiceStub(self._open_channel()).CountItems)
        limits = check.instance("budget", budget, Budget)
        count = count_all(call, request, limits, self._deadline(timeout))
        return replace(count, freshness_token=tokens.text)

    def get(
        self,
        table: str,
        keys: Iterable[Mapping[str, Value]],
        *,
        projection: Sequence[str] = (),
        consistent: bool = False,
        cache: CachePolicy | None = None,
        timeout: Timeout = UNSET,
    ) -> FoundItems:
        """Return the item of each primary key, in the order of the keys; `None` for no item.

        There may be any number of keys, the same one more than once. The returned list also has
        `stats`, `read_time` and `cache`.
        """
        request = BatchGetItemsRequest(
            table=check.text("table", table),
            projection=check.paths("projection", projection),
            consistency=consistency(consistent),
        )
        messages = key_messages(keys)
        tokens = OperationTokens(cache, table)
        call = self._with_bounds(tokens, QueryServiceStub(self._open_channel()).BatchGetItems)
        found = get_all(call, request, messages, self._deadline(timeout), self._resume)
        found.freshness_token = tokens.text
        return found

    def session(self, token: str = "") -> Session:
        """Return a session: its reads show its user's own writes, and never go back in time.

        `token` is that of an earlier session, perhaps in another process, from which this one
        continues.
        """
        return Session(self, SessionState(token))

    def explain(
        self,
        query: Query,
        *,
        timeout: Timeout = UNSET,
    ) -> Explanation:
        """Return the plan of a query without reading items."""
        request = ExplainQueryRequest(query=query_message(query))
        method = QueryServiceStub(self._open_channel()).ExplainQuery
        response = self._call_unary(method, request, self._resolve_timeout(timeout))
        return Explanation.from_message(response)

    def tables(self) -> list[TableSummary]:
        """Return the tables that the API key grants, by name."""
        call = partial(self._call_unary, CatalogServiceStub(self._open_channel()).ListTables)
        return list_all(call, self._deadline(UNSET))

    def table(self, name: str) -> Table:
        """Return the keys, indexes and read rules of one table."""
        request = GetTableRequest(table=check.text("name", name))
        method = CatalogServiceStub(self._open_channel()).GetTable
        response = self._call_unary(method, request, self._timeout)
        return Table.from_message(response.table)

    def invalidate(self, table: str, key: Mapping[str, Value] | None = None) -> None:
        """Invalidate the cached pages of a table after a write; needs the role `admin`.

        `key` holds the partition attributes of the written items, of the table and of its indexes.
        Without it all cached pages of the table are invalidated. The invalidation reaches the
        replica that receives the call, and those that share its cache.
        """
        method = CacheServiceStub(self._open_channel()).InvalidateCache
        self._call_unary(method, invalidation(table, key), self._timeout)

    def cache_stats(self) -> CacheStats:
        """Return the cache counters of one replica; needs the role `admin`."""
        method = CacheServiceStub(self._open_channel()).GetCacheStats
        response = self._call_unary(method, GetCacheStatsRequest(), self._timeout)
        return CacheStats.from_message(response)

    def _key_names(self, table: str) -> tuple[str, ...]:
        key = (self.table(table)).key
        return tuple(one.name for one in (*key.partition, *key.sort) if one.name)

    def _with_bounds(
        self, tokens: OperationTokens, method: Callable[..., Any]
    ) -> Callable[[Any, float | None], Any]:
        call = partial(self._call_unary, method)
        return partial(call_with_bounds, tokens, self._resume.clock, call)

    def _deadline(self, timeout: Timeout) -> Deadline:
        return Deadline(self._resolve_timeout(timeout), self._resume.clock)
