"""A question to the service that can be asked, and shown as Python and as a request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dynamodb_processor.v1.query_service_pb2 import QueryRequest, StreamQueryRequest
from dynamodb_processor_client import Page, PageStream, QueryClient, Value
from dynamodb_processor_client.options import query_spec


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, in the client's words.

    Attributes:
        table: The table.
        expression: The condition.
        parameters: The values of its `:name` parameters.
        page_size: Items per page; 0 for the table's default.
        descending: Whether the largest sort key comes first.
        page_token: Where to go on.
    """

    table: str
    expression: str
    parameters: Mapping[str, Value] = field(default_factory=dict)
    page_size: int = 0
    descending: bool = False
    page_token: str = ""

    def after(self, page_token: str) -> Question:
        """Return the question for the page at a token."""
        return replace(self, page_token=page_token)

    async def ask(self, client: QueryClient) -> Page:
        """Return the one page."""
        return await client.query(
            self.table,
            self.expression,
            parameters=self.parameters,
            page_size=self.page_size,
            descending=self.descending,
            page_token=self.page_token,
        )

    def ask_all(self, client: QueryClient) -> PageStream:
        """Return every page, as the service reads them."""
        return client.pages(
            self.table,
            self.expression,
            parameters=self.parameters,
            page_size=self.page_size,
            descending=self.descending,
        )

    def python(self, method: str = "query") -> str:
        """Return the call as one would write it."""
        arguments = [json.dumps(self.table), json.dumps(self.expression)]
        arguments += [f"{name}={_literal(value)}" for name, value in self.parameters.items()]
        if self.page_size:
            arguments.append(f"page_size={self.page_size}")
        if self.descending:
            arguments.append("descending=True")
        if self.page_token:
            arguments.append("page_token=page.next_page_token")
        return f"client.{method}({', '.join(arguments)})"

    def request(self) -> QueryRequest:
        """Return the request for the page."""
        return QueryRequest(
            query=self._spec(), page_size=self.page_size, page_token=self.page_token
        )

    def stream_request(self) -> StreamQueryRequest:
        """Return the request for every page."""
        return StreamQueryRequest(query=self._spec(), page_size=self.page_size)

    def _spec(self) -> Any:
        return query_spec(
            self.table,
            self.expression,
            {},
            parameters=self.parameters,
            index=None,
            descending=self.descending,
            projection=(),
            consistent=False,
            max_items=None,
        )


def _literal(value: Value) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
