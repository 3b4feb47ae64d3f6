"""An example call of the demo, which it runs and shows as Python and as a request."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from dynamodb_processor.v1.query_service_pb2 import QueryRequest, StreamQueryRequest
from dynamodb_processor_client import Page, PageStream, Query, QueryClient, Value


@dataclass(frozen=True, slots=True)
class ExampleCall:
    """A query with the page size and token of its call.

    Attributes:
        query: The query.
        page_size: Items per page; 0 for the table's default.
        page_token: The token of the page before; empty for the first page.
    """

    query: Query
    page_size: int = 0
    page_token: str = ""

    def after(self, page_token: str) -> ExampleCall:
        """Return the call for the page at a token."""
        return replace(self, page_token=page_token)

    async def run(self, client: QueryClient) -> Page:
        """Return one page."""
        return await client.query(self.query, page_size=self.page_size, page_token=self.page_token)

    def run_all(self, client: QueryClient) -> PageStream:
        """Return every page, as the service reads them."""
        return client.pages(self.query, page_size=self.page_size)

    def python(self, method: str = "query") -> str:
        """Return the call as Python code."""
        query = [json.dumps(self.query.table), json.dumps(self.query.expression)]
        query += [f"{name}={_literal(value)}" for name, value in self.query.parameters.items()]
        if self.query.descending:
            query.append("descending=True")
        arguments = [f"Query({', '.join(query)})"]
        if self.page_size:
            arguments.append(f"page_size={self.page_size}")
        if self.page_token:
            arguments.append("page_token=page.next_page_token")
        return f"client.{method}({', '.join(arguments)})"

    def request(self) -> QueryRequest:
        """Return the request for the page."""
        return QueryRequest(
            query=self.query.to_message(), page_size=self.page_size, page_token=self.page_token
        )

    def stream_request(self) -> StreamQueryRequest:
        """Return the request for every page."""
        return StreamQueryRequest(query=self.query.to_message(), page_size=self.page_size)


def _literal(value: Value) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
