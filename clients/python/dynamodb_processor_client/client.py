"""The client: one channel to the service, and what can be asked of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import grpc

from dynamodb_processor.v1.catalog_service_pb2 import GetTableRequest, ListTablesRequest
from dynamodb_processor.v1.catalog_service_pb2_grpc import CatalogServiceStub
from dynamodb_processor.v1.query_service_pb2 import QueryRequest, StreamQueryRequest
from dynamodb_processor.v1.query_service_pb2_grpc import QueryServiceStub
from dynamodb_processor_client.channel import ChannelOptions, open_channel
from dynamodb_processor_client.conditions import Condition
from dynamodb_processor_client.errors import typed_errors
from dynamodb_processor_client.options import DEFAULT, Budget, CachePolicy, Default, query_spec
from dynamodb_processor_client.pages import Page
from dynamodb_processor_client.streams import ItemStream, PageStream, ResumePolicy
from dynamodb_processor_client.tables import Table, TableSummary
from dynamodb_processor_client.values import Value


class QueryClient:
    """Reads tables through the service.

        async with QueryClient("localhost:50051", api_key=key) as client:
            async for item in client.stream("audit_events", "user_id = :u", u="u-1"):
                ...

    Open one client and share it: it holds one channel, which balances over every address of the
    target. It can be used by many tasks at once, on the event loop that it was opened on.

    The options of `query`, `pages` and `stream`:

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
    - `timeout`: seconds until the deadline of the call, or of the whole stream with all its
      resumptions and the time that the caller takes over the items; `None` for no deadline.

    All of them raise `TypeError` or `ValueError` for values that DynamoDB cannot hold, and
    `QueryError` for what the service answers.
    """

    def __init__(
        self,
        target: str,
        *,
        api_key: str | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        timeout: float | None = 60.0,
        resume: ResumePolicy | None = None,
        options: ChannelOptions = (),
    ) -> None:
        """Prepare a client; `async with` opens it.

        Args:
            target: Where the service is, as gRPC names it: `host:port`, `dns:///name:port`,
                `ipv4:address:port,address:port`.
            api_key: The key to send with every call.
            credentials: For TLS, such as `grpc.ssl_channel_credentials()`; plain text if `None`.
            timeout: Seconds that a call may take when it does not say.
            resume: How broken streams are resumed.
            options: gRPC channel options; they win over the client's own.

        Raises:
            ValueError: The key holds characters that no key has.
        """
        if api_key is not None and not (api_key.isascii() and api_key.isprintable()):
            raise ValueError("the API key holds characters that no key has")
        self._target = target
        self._credentials = credentials
        self._timeout = timeout
        self._resume = resume or ResumePolicy()
        self._options = options
        self._metadata = (("x-api-key", api_key),) if api_key else ()
        self._channel: grpc.aio.Channel | None = None

    async def __aenter__(self) -> Self:
        """Open the channel; connections are made when they are needed."""
        self._channel = open_channel(self._target, self._credentials, self._options)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the channel; calls that are under way are cancelled."""
        if self._channel is not None:
            await self._channel.close(None)
            self._channel = None

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
        timeout: float | Default | None = DEFAULT,  # noqa: ASYNC109 - it goes to the service
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
            page_size=page_size,
            page_token=page_token,
            budget=budget.to_message() if budget else None,
            cache=cache.to_message() if cache else None,
        )
        call = QueryServiceStub(self._open_channel()).Query
        with typed_errors():
            response = await call(request, timeout=self._seconds(timeout), metadata=self._metadata)
        return Page.from_message(response)

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
        timeout: float | Default | None = DEFAULT,
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
            page_size=page_size,
            resume_token=resume_token,
            cache=cache.to_message() if cache else None,
        )
        call = QueryServiceStub(self._open_channel()).StreamQuery
        return PageStream(
            lambda rest, seconds: call(rest, timeout=seconds, metadata=self._metadata),
            request,
            budget=budget,
            timeout=self._seconds(timeout),
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
        timeout: float | Default | None = DEFAULT,
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
            timeout=timeout,
            **named,
        )
        return ItemStream(pages)

    async def tables(self) -> list[TableSummary]:
        """Return the tables that the API key grants, by name."""
        call = CatalogServiceStub(self._open_channel()).ListTables
        request = ListTablesRequest()
        found: list[TableSummary] = []
        while True:
            with typed_errors():
                response = await call(request, timeout=self._timeout, metadata=self._metadata)
            found += (TableSummary(table.name, table.description) for table in response.tables)
            if not response.next_page_token:
                return found
            request.page_token = response.next_page_token

    async def table(self, name: str) -> Table:
        """Return one table's keys, indexes and reading rules."""
        call = CatalogServiceStub(self._open_channel()).GetTable
        request = GetTableRequest(table=name)
        with typed_errors():
            response = await call(request, timeout=self._timeout, metadata=self._metadata)
        return Table.from_message(response.table)

    def _open_channel(self) -> grpc.aio.Channel:
        if self._channel is None:
            raise RuntimeError("the client is not open: use it inside `async with`")
        return self._channel

    def _seconds(self, timeout: float | Default | None) -> float | None:
        return self._timeout if isinstance(timeout, Default) else timeout
