"""The Reader that asks DynamoDB."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from dynamodb_processor_server.errors import DeadlineExceeded
from dynamodb_processor_server.query.plan import Operation, Plan
from dynamodb_processor_server.reading.clients import Clients
from dynamodb_processor_server.reading.failures import translate
from dynamodb_processor_server.reading.paging import PageBuilder
from dynamodb_processor_server.reading.port import Limits, Page, PageEnd, Position, Usage
from dynamodb_processor_server.reading.positions import decode_position


class DynamoDBReader:
    """Reads pages from DynamoDB.

    `max_page_bytes` bounds the encoded items of a page. `now` gives seconds since the epoch.
    """

    def __init__(
        self, clients: Clients, max_page_bytes: int, now: Callable[[], float] = time.time
    ) -> None:
        self._clients = clients
        self._max_page_bytes = max_page_bytes
        self._now = now

    async def fetch_page(self, plan: Plan, at: Position, limits: Limits) -> Page:
        """Return the page that begins at `at`; see `Reader`."""
        builder = PageBuilder(plan, decode_position(at), limits, self._max_page_bytes, self._now())
        if plan.operation is Operation.NOTHING:
            return builder.page(PageEnd.EXHAUSTED)
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with asyncio.timeout_at(limits.deadline):
                    answer, usage = await self._ask(plan, builder)
            except TimeoutError:
                if builder.usage.backend_calls:
                    return builder.page(PageEnd.TIME_BUDGET)
                raise DeadlineExceeded("the deadline passed before anything was read") from None
            end = builder.add(answer, usage)
            if end is None and loop.time() >= limits.answer_by:
                end = PageEnd.TIME_BUDGET
            if end is not None:
                return builder.page(end)
            if limits.progress is not None:
                limits.progress.cut = lambda: builder.page(PageEnd.TIME_BUDGET)

    async def _ask(self, plan: Plan, builder: PageBuilder) -> tuple[Mapping[str, Any], Usage]:
        request = {**plan.request, "Limit": builder.request_limit()}
        if builder.start_key is not None:
            request["ExclusiveStartKey"] = builder.start_key
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            declaration = plan.table.declaration
            client = await self._clients.client(declaration.region, declaration.role_arn)
            operation = client.scan if plan.operation is Operation.SCAN else client.query
            answer = await operation(**request)
        except Exception as error:
            raise translate(error, plan.table.name) from error
        usage = Usage(
            items_scanned=answer["ScannedCount"],
            read_units=answer.get("ConsumedCapacity", {}).get("CapacityUnits", 0.0),
            backend_calls=1,
            retries=answer["ResponseMetadata"].get("RetryAttempts", 0),
            backend_time=loop.time() - began,
        )
        return answer, usage
