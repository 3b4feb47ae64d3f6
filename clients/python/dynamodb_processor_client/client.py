"""The client: one channel to the service, and what can be asked of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

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
from dynamodb_processor_client.conditions import Condition
from dynamodb_processor_client.connection import Connection
from dynamodb_processor_client.counts import Count, count_all
from dynamodb_processor_client.deadlines import Deadline
from dynamodb_processor_client.explanations import Explanation
from dynamodb_processor_client.gets import FoundItems, get_all, key_messages
from dynamodb_processor_client.listing import list_all
from dynamodb_processor_client.options import (
    UNSET,
    Budget,
    CachePolicy,
    TotalOption,
    Unset,
    budget_message,
    cache_message,
    consistency,
    page_size_field,
    query_spec,
    token_field,
    total_options,
)
from dynamodb_processor_client.pages import Page
from dynamodb_processor_client.streams import ItemStream, PageStream
from dynamodb_processor_client.tables import Table, TableSummary
from dynamodb_processor_client.values import Value


class QueryClient(Connection):
    """Reads tables through the service.

        async with QueryClient("localhost:50051", api_key=key) as client:
            async for item in client.stream("audit_events", "user_id = :u", u="u-1"):
                ...

    Open one client and share it: it holds one channel, which balances over every address of the
    target. It can be used by many tasks at once, on the event loop that it was opened on.

    The options of `query`, `pages`, `stream`, `count` and `explain`, as far as each has them:

    - `table`: the table's name in the catalog.
    - `expression`: the condition, in DynamoDB's condition-expression language with literals
      allowed, or as boto3's `Attr` and `Key` build it. Empty means every item.
    - `**parameters`: values for the `:name` parameters of the text; `parameters={...}` for names
      that are options too.
    - `index`: the index to use or fail, `"@table"` for the base table; the service chooses if
      `None`.
    - `descending`: largest sort key first.
    - `projection`: document paths of the attributes to return; empty for all.
    - `consistent`: read strongly; costs twice as much, and is not cached.
    - `max_items`: how many items the whole traversal returns at most; the tokens carry it on.
    - `page_size`: items per page; 0 for the table's default.
    - `budget`: what the call may cost.
    - `cache`: which cached answers are welcome.
    - `total`: `"exact"` to count all that matches as well, a number to count up to there; pages and
      streams then have a `total`.
    - `timeout`: seconds until the deadline of the call, or of all the calls that a count or a get
      needs, or of the whole stream with all its resumptions and the time that the caller takes over
      the items; `None` for no deadline.

    All of them raise `TypeError` or `ValueError` for values that DynamoDB cannot hold, and
    `QueryError` for what the service answers.
    """

    async def query(
        self,
        table: str,
        expression: str | Condition = "",
        *,
        parameters: Mapping[str, Value] | None = None,
        index: str | None = None,
        descending: bool = False,
        projection: Sequence[str] = (),
        consistent: bool = False,
        max_items: int | None = None,
        page_size: int = 0,
        page_token: str = "",
        budget: Budget | None = None,
        cache: CachePolicy | None = None,
        total: TotalOption = None,
        timeout: float | Unset | None = UNSET,  # noqa: ASYNC109 - it goes to the service
        **named: Value,
    ) -> Page:
        """Return one page: the first, or the one at `page_token`."""
        spec = query_spec(
            table,
            expression,
            named,
            parameters=parameters,
            index=index,
            descending=descending,
            projection=projection,
            consistent=consistent,
            max_items=max_items,
        )
        request = QueryRequest(
            query=spec,
            page_size=page_size_field(page_size),
            page_token=token_field("page_token", page_token),
            budget=budget_message(budget),
            cache=cache_message(cache),
            total=total_options(total),
        )
        method = QueryServiceStub(self._open_channel()).Query
        return Page.from_message(
            await self._call_unary(method, request, self._resolve_timeout(timeout))
        )

    def pages(
        self,
        table: str,
        expression: str | Condition = "",
        *,
        parameters: Mapping[str, Value] | None = None,
        index: str | None = None,
        descending: bool = False,
        projection: Sequence[str] = (),
        consistent: bool = False,
        max_items: int | None = None,
        page_size: int = 0,
        resume_token: str = "",
        budget: Budget | None = None,
        cache: CachePolicy | None = None,
        total: TotalOption = None,
        timeout: float | Unset | None = UNSET,
        **named: Value,
    ) -> PageStream:
        """Return every page, from the first or from `resume_token`, as the service reads them."""
        spec = query_spec(
            table,
            expression,
            named,
            parameters=parameters,
            index=index,
            descending=descending,
            projection=projection,
            consistent=consistent,
            max_items=max_items,
        )
        request = StreamQueryRequest(
            query=spec,
            page_size=page_size_field(page_size),
            resume_token=token_field("resume_token", resume_token),
            cache=cache_message(cache),
            total=total_options(total),
        )
        call = QueryServiceStub(self._open_channel()).StreamQuery
        return PageStream(
            lambda rest, seconds: call(rest, timeout=seconds, metadata=self._metadata),
            request,
            budget=check.instance("budget", budget, Budget),
            timeout=self._resolve_timeout(timeout),
            policy=self._resume,
        )

    def stream(
        self,
        table: str,
        expression: str | Condition = "",
        *,
        parameters: Mapping[str, Value] | None = None,
        index: str | None = None,
        descending: bool = False,
        projection: Sequence[str] = (),
        consistent: bool = False,
        max_items: int | None = None,
        page_size: int = 0,
        resume_token: str = "",
        budget: Budget | None = None,
        cache: CachePolicy | None = None,
        total: TotalOption = None,
        timeout: float | Unset | None = UNSET,
        **named: Value,
    ) -> ItemStream:
        """Return every item, from the first or from `resume_token`, as the service reads them."""
        pages = self.pages(
            table,
            expression,
            parameters=parameters,
            index=index,
            descending=descending,
            projection=projection,
            consistent=consistent,
            max_items=max_items,
            page_size=page_size,
            resume_token=resume_token,
            budget=budget,
            cache=cache,
            total=total,
            timeout=timeout,
            **named,
        )
        return ItemStream(pages)

    async def count(
        self,
        table: str,
        expression: str | Condition = "",
        *,
        parameters: Mapping[str, Value] | None = None,
        index: str | None = None,
        consistent: bool = False,
        up_to: int | None = None,
        page_token: str = "",
        budget: Budget | None = None,
        cache: CachePolicy | None = None,
        timeout: float | Unset | None = UNSET,  # noqa: ASYNC109 - it goes to the service
        **named: Value,
    ) -> Count:
        """Return how many items match: all of them, or up to a number.

        Counting costs what reading the items would. Only a `budget` ends it early, with a token;
        when the time is over, the error's `resume_token` goes on from there.
        """
        request = CountItemsRequest(
            query=query_spec(
                table, expression, named, parameters=parameters, index=index, consistent=consistent
            ),
            total=total_options(up_to),
            page_token=token_field("page_token", page_token),
            cache=cache_message(cache),
        )
        call = partial(self._call_unary, QueryServiceStub(self._open_channel()).CountItems)
        limits = check.instance("budget", budget, Budget)
        return await count_all(call, request, limits, self._deadline(timeout))

    async def get(
        self,
        table: str,
        keys: Iterable[Mapping[str, Value]],
        *,
        projection: Sequence[str] = (),
        consistent: bool = False,
        timeout: float | Unset | None = UNSET,  # noqa: ASYNC109 - it goes to the service
    ) -> FoundItems:
        """Return the item of each primary key, in their order; `None` where there is none.

        There may be any number of keys, the same one more than once. The list that is returned
        also has `stats` and `read_time`.
        """
        request = BatchGetItemsRequest(
            table=check.text("table", table),
            projection=check.paths("projection", projection),
            consistency=consistency(consistent),
        )
        messages = key_messages(keys)
        call = partial(self._call_unary, QueryServiceStub(self._open_channel()).BatchGetItems)
        deadline = self._deadline(timeout)
        return await get_all(call, request, messages, deadline, self._resume)

    async def explain(
        self,
        table: str,
        expression: str | Condition = "",
        *,
        parameters: Mapping[str, Value] | None = None,
        index: str | None = None,
        descending: bool = False,
        projection: Sequence[str] = (),
        consistent: bool = False,
        timeout: float | Unset | None = UNSET,  # noqa: ASYNC109 - it goes to the service
        **named: Value,
    ) -> Explanation:
        """Return how a query would be read; nothing is."""
        spec = query_spec(
            table,
            expression,
            named,
            parameters=parameters,
            index=index,
            descending=descending,
            projection=projection,
            consistent=consistent,
        )
        method = QueryServiceStub(self._open_channel()).ExplainQuery
        request = ExplainQueryRequest(query=spec)
        return Explanation.from_message(
            await self._call_unary(method, request, self._resolve_timeout(timeout))
        )

    async def tables(self) -> list[TableSummary]:
        """Return the tables that the API key grants, by name."""
        call = partial(self._call_unary, CatalogServiceStub(self._open_channel()).ListTables)
        return await list_all(call, self._deadline(UNSET))

    async def table(self, name: str) -> Table:
        """Return one table's keys, indexes and reading rules."""
        method = CatalogServiceStub(self._open_channel()).GetTable
        response = await self._call_unary(
            method, GetTableRequest(table=check.text("name", name)), self._timeout
        )
        return Table.from_message(response.table)

    async def invalidate(self, table: str, key: Mapping[str, Value] | None = None) -> None:
        """Tell the service that a table was written to; the API key needs the role `admin`.

        `key` gives the partition attributes of what was written, of the table and of its indexes;
        without it everything that is cached of the table ends. Only the replica that is asked
        knows.
        """
        method = CacheServiceStub(self._open_channel()).InvalidateCache
        await self._call_unary(method, invalidation(table, key), self._timeout)

    async def cache_stats(self) -> CacheStats:
        """Return how the cache of one replica is used; the API key needs the role `admin`."""
        method = CacheServiceStub(self._open_channel()).GetCacheStats
        response = await self._call_unary(method, GetCacheStatsRequest(), self._timeout)
        return CacheStats.from_message(response)

    def _deadline(self, timeout: float | Unset | None) -> Deadline:
        return Deadline(self._resolve_timeout(timeout), self._resume.clock)
