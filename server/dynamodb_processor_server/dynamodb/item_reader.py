"""Gets items by key, and asks again for the keys that BatchGetItem leaves unprocessed.

DynamoDB answers in any order, at most 16 MB, and gives back the keys it had no room or capacity
for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from dynamodb_processor_server.batch_reader import BatchGetRequest, BatchGetResult
from dynamodb_processor_server.catalog.logical_view import has_expired
from dynamodb_processor_server.dynamodb.backend import Backend, Content, RequestTarget
from dynamodb_processor_server.errors import BackendUnavailable, DeadlineExceeded
from dynamodb_processor_server.query.expression.values import Value, WireItem, from_wire
from dynamodb_processor_server.reader import NO_USAGE, Caller, ReadOptions, Usage

_Key = tuple[Value, ...]


class DynamoDBItemReader:
    """Gets items from DynamoDB. `now` gives seconds since the epoch."""

    def __init__(self, backend: Backend, now: Callable[[], float] = time.time) -> None:
        self._backend = backend
        self._now = now

    async def get_items(
        self, request: BatchGetRequest, options: ReadOptions, caller: Caller
    ) -> BatchGetResult:
        """Return the items that could be read in time; see `ItemReader`."""
        names = request.table.schema.base.cursor_attributes
        indexes = {_key(key, names): index for index, key in enumerate(request.keys)}
        target = _target(request)
        usage, read_at, rounds = NO_USAGE, self._now(), 0
        pending, found = _admitted(request)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(options.hard_deadline):
                while pending:
                    # With items the call ends rather than wait past its soft deadline.
                    has_answer = usage.backend_calls > 0
                    until = options.soft_deadline if has_answer else options.hard_deadline
                    answer, used = await self._ask(target, request, pending, until, caller)
                    usage += used
                    rounds += 1
                    unprocessed = _unprocessed(answer, request)
                    idle = len(unprocessed) == len(pending)
                    found.update(_outcomes(answer, request, indexes, pending, unprocessed, read_at))
                    pending = unprocessed
                    late = loop.time() >= options.soft_deadline
                    if not pending or late or options.budget.spent_by(usage) is not None:
                        break
                    if not await self._backend.backoff_before_unprocessed(
                        target, rounds, options.soft_deadline, idle=idle
                    ):
                        break  # the items of earlier answers are not lost
        except TimeoutError:
            if not usage.backend_calls:
                raise DeadlineExceeded("the deadline passed before anything was read") from None
        except BackendUnavailable:
            # DynamoDB throttles the keys that it left before; the items so far are not lost.
            if not usage.backend_calls:
                raise
        return BatchGetResult(found, usage, read_at)

    async def _ask(
        self,
        target: RequestTarget,
        request: BatchGetRequest,
        keys: Sequence[WireItem],
        retry_until: float,
        caller: Caller,
    ) -> tuple[Content, Usage]:
        table = request.table.config.table
        parameters: Any = {**request.request, "Keys": list(keys)}
        if request.consistent:
            parameters["ConsistentRead"] = True

        async def ask(client: Any) -> Content:
            answer = await client.batch_get_item(
                RequestItems={table: parameters}, ReturnConsumedCapacity="TOTAL"
            )
            return cast("Content", answer)

        answer = await self._backend.read(target, ask, retry_until, caller)
        content = answer.content
        items = _of_table(content["Responses"], request) or ()
        return content, Usage(
            items_scanned=len(items),
            read_units=answer.read_units,
            backend_calls=answer.attempts,
            retries=answer.attempts - 1,
            backend_time=answer.seconds,
        )


def _target(request: BatchGetRequest) -> RequestTarget:
    config = request.table.config
    return RequestTarget(
        request.table.name,
        config.region,
        config.role_arn,
        operation="BatchGetItem",
        physical=config.table,
    )


def _admitted(request: BatchGetRequest) -> tuple[Sequence[WireItem], dict[int, WireItem | None]]:
    """Return the keys to ask for, and None for each key that the row rule hides by itself."""
    rule = request.rule
    if rule is None:
        return request.keys, {}
    hidden: dict[int, WireItem | None] = {
        index: None
        for index, key in enumerate(request.keys)
        if not rule.admits_key(request.table.view.expanded(key, 0.0))
    }
    return [key for index, key in enumerate(request.keys) if index not in hidden], hidden


def _key(item: WireItem, names: Sequence[str]) -> _Key:
    return tuple(from_wire(item[name]) for name in names)


def _unprocessed(answer: Mapping[str, Any], request: BatchGetRequest) -> list[WireItem]:
    left = _of_table(answer.get("UnprocessedKeys", {}), request) or {}
    return list(left.get("Keys", ()))


def _of_table(answers: Mapping[str, Any], request: BatchGetRequest) -> Any:
    """Return the part of an answer about the request's one table, None if there is none.

    A table that was named by its ARN may be answered by the ARN or by the name.
    """
    found = answers.get(request.table.config.table)
    return answers.get(request.table.schema.name) if found is None else found


def _outcomes(
    answer: Mapping[str, Any],
    request: BatchGetRequest,
    indexes: Mapping[_Key, int],
    asked: Sequence[WireItem],
    unprocessed: Sequence[WireItem],
    now: float,
) -> dict[int, WireItem | None]:
    """Return the items of one answer, and None for keys that it neither has nor put off."""
    names = request.table.schema.base.cursor_attributes
    put_off = {_key(key, names) for key in unprocessed}
    outcomes: dict[int, WireItem | None] = {
        indexes[key]: None for key in (_key(key, names) for key in asked) if key not in put_off
    }
    for stored in _of_table(answer["Responses"], request) or ():
        item = request.table.view.expanded(stored, now)
        if not has_expired(item) and (request.rule is None or request.rule.admits(item)):
            outcomes[indexes[_key(item, names)]] = item
    return outcomes
