"""The reader that asks DynamoDB."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, Final, Protocol, TypeAlias, cast

from dynamodb_processor_server.batch_reader import ItemReader
from dynamodb_processor_server.dynamodb.backend import Backend, Content, RequestTarget
from dynamodb_processor_server.dynamodb.count_builder import CountBuilder
from dynamodb_processor_server.dynamodb.hydration import Hydrator
from dynamodb_processor_server.dynamodb.item_reader import DynamoDBItemReader
from dynamodb_processor_server.dynamodb.oversized_items import MAX_ITEM_BYTES
from dynamodb_processor_server.dynamodb.page_builder import PageBuilder
from dynamodb_processor_server.dynamodb.plain_pages import PlainPageBuilder, is_plain
from dynamodb_processor_server.errors import BackendUnavailable, DeadlineExceeded
from dynamodb_processor_server.limits.planning_time import PlanningTimeLimits
from dynamodb_processor_server.query.planning.plan import Operation, Plan
from dynamodb_processor_server.query.planning.request_builder import PARTITION_ALIASES
from dynamodb_processor_server.reader import Budget, Page, PageEnd, PageRead, Usage
from dynamodb_processor_server.runtime.concurrency import gather_or_cancel
from dynamodb_processor_server.runtime.time_slices import SLICE

_OPERATIONS: Final = {Operation.GET: "GetItem", Operation.SCAN: "Scan", Operation.QUERY: "Query"}
_Next: TypeAlias = tuple[Any, Mapping[str, Any]]  # a partition of the builder's, and its request


class _Builder(Protocol):
    """The methods that all builders have; a partition is the builder's own."""

    usage: Usage
    paused: bool

    @property
    def has_progress(self) -> bool: ...

    def next_requests(self) -> Sequence[_Next]: ...

    def add(self, partition: Any, answer: Mapping[str, Any], usage: Usage) -> None: ...

    def fill(self) -> PageEnd | None: ...

    def partial_page(self, end: PageEnd) -> Page: ...

    def finish(self, end: PageEnd) -> Page: ...


class DynamoDBReader:
    """Reads pages from DynamoDB.

    `max_page_bytes` bounds the encoded items of a page, `max_item_bytes` a single one. `now` gives
    seconds since the epoch. The processor time of evaluating conditions is charged to the caller in
    `planning`. Items that an index holds in part come from `cached_items`, if it is given; it must
    not ask for admission, which the page has already.
    """

    def __init__(
        self,
        backend: Backend,
        max_page_bytes: int,
        now: Callable[[], float] = time.time,
        max_item_bytes: int = MAX_ITEM_BYTES,
        planning: PlanningTimeLimits | None = None,
        cached_items: ItemReader | None = None,
    ) -> None:
        self._backend = backend
        self._hydrator = Hydrator(DynamoDBItemReader(backend, now), cached_items)
        self._max_page_bytes = max_page_bytes
        self._max_item_bytes = max_item_bytes
        self._now = now
        self._planning = planning or PlanningTimeLimits({})

    async def read_page(self, request: PageRead) -> Page:
        """Return a page, read from DynamoDB; see `PageReader`."""
        builder = self._builder(request)
        plan, progress, deadline = request.plan, request.progress, request.options.hard_deadline
        fill = builder.fill
        if plan.local_filter is not None:
            self._planning.check(request.caller.principal, begun=True)
            fill = partial(self._metered_fill, request, builder)
        while (end := fill()) is None:
            if builder.has_progress:
                # Items that were read are evaluated to the last one, in however many slices.
                if not builder.paused and _should_stop(request):
                    end = PageEnd.TIME_BUDGET
                    break
                if progress is not None:
                    progress.partial_page = lambda: builder.partial_page(PageEnd.TIME_BUDGET)
            try:
                if builder.paused:
                    await asyncio.sleep(0)  # others take their turns
                elif plan.hydration is None or not await self._hydrate(request, builder):
                    async with asyncio.timeout_at(deadline):
                        await self._read_more(request, builder)
            except (TimeoutError, DeadlineExceeded, BackendUnavailable) as error:
                return _page_so_far(builder, error)
        return builder.finish(end)

    def _metered_fill(self, request: PageRead, builder: _Builder) -> PageEnd | None:
        """Fill the page, and charge the time to the caller."""
        began = time.thread_time()
        try:
            return builder.fill()
        finally:
            self._planning.charge(request.caller.principal, time.thread_time() - began)

    def _builder(self, request: PageRead) -> _Builder:
        plan = request.plan
        if plan.counts and plan.hydration is None:
            return CountBuilder(request, self._now(), SLICE)
        new = PlainPageBuilder if is_plain(request) else PageBuilder
        return new(request, self._max_page_bytes, self._now(), self._max_item_bytes, SLICE)

    async def _hydrate(self, request: PageRead, builder: _Builder) -> bool:
        """Get the items that the page waits for; return whether there were any."""
        if not isinstance(builder, PageBuilder):
            return False
        keys = builder.missing()
        if not keys:
            return False
        options = request.options
        units = options.budget.after(builder.usage).max_read_units
        late = asyncio.get_running_loop().time() >= options.soft_deadline
        if late or (units is not None and units <= 0):
            # Nothing has been delivered, or the page had ended: one item must be, if it can.
            keys = dict(islice(keys.items(), 1))
            options = options._replace(soft_deadline=options.hard_deadline)
            units = None
        options = options._replace(budget=Budget(max_read_units=units))
        got = await self._hydrator.get(
            request.plan, keys, options, request.caller, builder.contradicted
        )
        builder.hydrate(got)
        return True

    async def _read_more(self, request: PageRead, builder: _Builder) -> None:
        """Ask all partitions that must be read, at the same time."""
        nexts, plan = builder.next_requests(), request.plan
        if len(nexts) > 1 and not self._backend.breakers.is_closed(
            plan.table.name, plan.path.resource
        ):
            # The first is the probe; beside it the others would be refused, and end the page.
            await self._read(request, builder, nexts[:1])
            nexts = nexts[1:]
        await self._read(request, builder, nexts)

    async def _read(self, request: PageRead, builder: _Builder, nexts: Sequence[_Next]) -> None:
        retry_until = _retry_until(request, has_items=builder.has_progress)
        if len(nexts) == 1:
            ((partition, parameters),) = nexts
            builder.add(partition, *await self._ask(request, parameters, retry_until))
            return
        answers = await gather_or_cancel(
            self._ask(request, parameters, retry_until) for _, parameters in nexts
        )
        for (partition, _), (content, usage) in zip(nexts, answers, strict=True):
            builder.add(partition, content, usage)

    async def _ask(
        self, request: PageRead, parameters: Mapping[str, Any], retry_until: float
    ) -> tuple[Content, Usage]:
        plan = request.plan

        async def ask(client: Any) -> Content:
            match plan.operation:
                case Operation.GET:
                    return _as_page(await client.get_item(**parameters))
                case Operation.SCAN:
                    answer = await client.scan(**parameters)
                case _:
                    answer = await client.query(**parameters)
            return cast("Content", answer)

        target = _target(plan, parameters)
        answer = await self._backend.read(target, ask, retry_until, request.caller)
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


def _should_stop(request: PageRead) -> bool:
    """Return whether a read that has items is to end with them."""
    progress = request.progress
    return asyncio.get_running_loop().time() >= request.options.soft_deadline or (
        progress is not None and progress.stop_requested
    )


def _retry_until(request: PageRead, *, has_items: bool) -> float:
    """Return when a failed request must have been made again, of the event loop's clock.

    With items a read ends rather than wait past the soft deadline. A shared one does not wait
    longer than its callers do.
    """
    options, progress = request.options, request.progress
    until = options.soft_deadline if has_items else options.hard_deadline
    return until if progress is None else min(until, progress.awaited_until)


def _page_so_far(builder: _Builder, error: Exception) -> Page:
    """Return the items so far where time ended a read; raise the error where there are none."""
    if isinstance(error, BackendUnavailable) and not error.is_out_of_time:
        raise error
    if builder.has_progress:
        return builder.partial_page(PageEnd.TIME_BUDGET)
    if isinstance(error, BackendUnavailable):
        raise error
    raise DeadlineExceeded("the deadline passed before anything was read") from None


def _target(plan: Plan, request: Mapping[str, Any]) -> RequestTarget:
    config = plan.table.config
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
        plan.table.name,
        config.region,
        config.role_arn,
        partition,
        plan.cache_key,
        plan.path.resource,
        _OPERATIONS[plan.operation],
        config.table,
        plan.path.index,
    )


def _as_page(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return GetItem's answer in the form of Query's."""
    items = [answer["Item"]] if "Item" in answer else []
    return {**answer, "Items": items, "Count": len(items), "ScannedCount": len(items)}
