"""The Reader that asks DynamoDB."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, Protocol, TypeAlias, cast

from dynamodb_processor_server.dynamodb.backend import Backend, Content, RequestTarget
from dynamodb_processor_server.dynamodb.count_builder import CountBuilder
from dynamodb_processor_server.dynamodb.hydration import Hydrator
from dynamodb_processor_server.dynamodb.item_reader import DynamoDBItemReader
from dynamodb_processor_server.dynamodb.oversized_items import MAX_ITEM_BYTES
from dynamodb_processor_server.dynamodb.page_builder import PageBuilder
from dynamodb_processor_server.errors import DeadlineExceeded
from dynamodb_processor_server.query.planning.plan import Operation, Plan
from dynamodb_processor_server.query.planning.request_builder import PARTITION_ALIASES
from dynamodb_processor_server.reader import (
    Cursor,
    ItemReader,
    Page,
    PageEnd,
    ReadOptions,
    Usage,
)
from dynamodb_processor_server.runtime.concurrency import gather_or_cancel
from dynamodb_processor_server.runtime.time_slices import (
    SLICE,
    EvaluationLimits,
    Unlimited,
)

_Need: TypeAlias = tuple[Any, Mapping[str, Any]]  # a branch of the builder's, and its request


class _Builder(Protocol):
    """What `PageBuilder` and `CountBuilder` have in common; a branch is the builder's own."""

    usage: Usage
    paused: bool

    @property
    def has_progress(self) -> bool: ...

    def next_requests(self) -> Sequence[_Need]: ...

    def add(self, branch: Any, answer: Mapping[str, Any], usage: Usage) -> None: ...

    def fill(self) -> PageEnd | None: ...

    def partial_page(self, end: PageEnd) -> Page: ...

    def finish(self, end: PageEnd) -> Page: ...


class DynamoDBReader:
    """Reads pages from DynamoDB.

    `max_page_bytes` bounds the encoded items of a page, `max_item_bytes` a single one. `now` gives
    seconds since the epoch. What an index does not hold is got by `items`. What evaluating takes is
    charged to `evaluation`.
    """

    def __init__(
        self,
        backend: Backend,
        max_page_bytes: int,
        now: Callable[[], float] = time.time,
        items: ItemReader | None = None,
        max_item_bytes: int = MAX_ITEM_BYTES,
        evaluation: EvaluationLimits | None = None,
    ) -> None:
        self._backend = backend
        self._hydrator = Hydrator(items or DynamoDBItemReader(backend))
        self._max_page_bytes = max_page_bytes
        self._max_item_bytes = max_item_bytes
        self._now = now
        self._evaluation = evaluation or Unlimited()

    async def read_page(self, plan: Plan, at: Cursor, limits: ReadOptions) -> Page:
        """Return the page that begins at `at`; see `Reader`."""
        builder = self._builder(plan, at, limits)
        loop = asyncio.get_running_loop()
        if plan.local_filter is not None:
            self._evaluation.check()
        while (end := self._fill(plan, builder)) is None:
            if builder.has_progress:
                # What has been read is looked at to its end, in however many slices.
                if not builder.paused and limits.should_stop(loop.time()):
                    end = PageEnd.TIME_BUDGET
                    break
                if limits.progress is not None:
                    limits.progress.partial_page = lambda: builder.partial_page(PageEnd.TIME_BUDGET)
            try:
                if builder.paused:
                    await asyncio.sleep(0)  # others take their turns
                elif not await self._hydrate(plan, builder, limits):
                    async with asyncio.timeout_at(limits.hard_deadline):
                        await self._read_more(plan, builder, limits.hard_deadline)
            except (TimeoutError, DeadlineExceeded):
                if builder.has_progress:
                    return builder.partial_page(PageEnd.TIME_BUDGET)
                raise DeadlineExceeded("the deadline passed before anything was read") from None
        return builder.finish(end)

    def _fill(self, plan: Plan, builder: _Builder) -> PageEnd | None:
        if plan.local_filter is None:
            return builder.fill()
        began = time.thread_time()
        try:
            return builder.fill()
        finally:
            self._evaluation.charge(time.thread_time() - began)

    def _builder(self, plan: Plan, at: Cursor, limits: ReadOptions) -> _Builder:
        if plan.counts and plan.hydration is None:
            return CountBuilder(plan, at, limits, self._now(), SLICE)
        return PageBuilder(
            plan, at, limits, self._max_page_bytes, self._now(), self._max_item_bytes, SLICE
        )

    async def _hydrate(self, plan: Plan, builder: _Builder, limits: ReadOptions) -> bool:
        """Get the items that the page waits for; return whether there were any."""
        if not isinstance(builder, PageBuilder):
            return False
        keys = builder.missing()
        if not keys:
            return False
        units = limits.max_read_units
        left = None if units is None else units - builder.usage.read_units
        late = asyncio.get_running_loop().time() >= limits.soft_deadline
        if late or (left is not None and left <= 0):
            # Nothing has been delivered, or the page had ended: one item must be, if it can.
            keys = dict(islice(keys.items(), 1))
            limits = limits._replace(soft_deadline=limits.hard_deadline, max_read_units=None)
        else:
            limits = limits._replace(max_read_units=left)
        builder.hydrate(*await self._hydrator.get(plan, keys, limits))
        return True

    async def _read_more(self, plan: Plan, builder: _Builder, deadline: float) -> None:
        """Ask all partitions that must be read, at the same time."""
        needs = builder.next_requests()
        if len(needs) > 1 and not self._backend.breakers.is_closed(plan.table.name):
            # The first is the probe; beside it the others would be refused, and end the page.
            await self._read(plan, builder, needs[:1], deadline)
            needs = needs[1:]
        await self._read(plan, builder, needs, deadline)

    async def _read(
        self, plan: Plan, builder: _Builder, needs: Sequence[_Need], deadline: float
    ) -> None:
        if len(needs) == 1:
            ((branch, request),) = needs
            builder.add(branch, *await self._ask(plan, request, deadline))
            return
        answers = await gather_or_cancel(self._ask(plan, request, deadline) for _, request in needs)
        for (branch, _), (content, usage) in zip(needs, answers, strict=True):
            builder.add(branch, content, usage)

    async def _ask(
        self, plan: Plan, request: Mapping[str, Any], deadline: float
    ) -> tuple[Content, Usage]:
        async def ask(client: Any) -> Content:
            match plan.operation:
                case Operation.GET:
                    return _as_page(await client.get_item(**request))
                case Operation.SCAN:
                    answer = await client.scan(**request)
                case _:
                    answer = await client.query(**request)
            return cast("Content", answer)

        answer = await self._backend.read(_target(plan, request), ask, deadline)
        content = answer.content
        view = plan.table.view
        if not view.is_identity and "Items" in content:
            now = self._now()
            content = {**content, "Items": [view.expanded(item, now) for item in content["Items"]]}
        return content, Usage(
            items_scanned=content["ScannedCount"],
            read_units=answer.read_units,
            backend_calls=answer.attempts,
            retries=answer.attempts - 1,
            backend_time=answer.seconds,
        )


def _target(plan: Plan, request: Mapping[str, Any]) -> RequestTarget:
    declaration = plan.table.config
    names = plan.path.key.partition
    match plan.operation:
        case Operation.GET:
            values = [request["Key"][attribute.name] for attribute in names]
        case Operation.SCAN:
            values = []
        case _:
            given = request["ExpressionAttributeValues"]
            values = [given[alias] for alias, _ in zip(PARTITION_ALIASES, names, strict=False)]
    # Wire values are of one entry each: a type and a text or bytes, as keys have no others.
    key = tuple(entry for value in values for entry in value.items())
    partition = (plan.path.index, key) if key else None
    return RequestTarget(
        plan.table.name, declaration.region, declaration.role_arn, partition, plan.cache_key
    )


def _as_page(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return GetItem's answer in the form of Query's."""
    items = [answer["Item"]] if "Item" in answer else []
    return {**answer, "Items": items, "Count": len(items), "ScannedCount": len(items)}
