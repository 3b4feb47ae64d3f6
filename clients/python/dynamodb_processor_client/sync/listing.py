# Written by `make proto` from the asynchronous client's `listing.py`. Do not edit.
"""Listing the granted tables, page by page."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from dynamodb_processor.v1.catalog_service_pb2 import ListTablesRequest, ListTablesResponse
from dynamodb_processor_client.progress import IdleCalls, no_progress
from dynamodb_processor_client.sync.deadlines import Deadline
from dynamodb_processor_client.tables import TableSummary

ListTablesCall: TypeAlias = Callable[[ListTablesRequest, float | None], ListTablesResponse]


def list_all(call: ListTablesCall, deadline: Deadline) -> list[TableSummary]:
    """Return the tables on all pages of the listing.

    Raises:
        QueryError: The service refused or makes no progress, or the deadline passed.
    """
    request = ListTablesRequest()
    found: dict[str, TableSummary] = {}
    tokens: set[str] = set()
    idle_calls = IdleCalls()
    while True:
        progress = f"{len(found)} tables were listed by then" if found else ""
        response = deadline.call(partial(call, request), progress)
        before = len(found)
        found.update((one.name, TableSummary(one.name, one.description)) for one in response.tables)
        if not response.next_page_token:
            return list(found.values())
        if response.next_page_token in tokens:
            raise no_progress("the listing returned a token for the second time")
        tokens.add(response.next_page_token)
        idle_calls.record(progressed=len(found) > before)
        request.page_token = response.next_page_token
