"""Gets items by key: what BatchGetItem leaves unprocessed is asked for again, and nothing is lost.

DynamoDB answers in any order, at most 16 MB, and gives back the keys it had no room or capacity
for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from dynamodb_processor_server.catalog.logical_view import has_expired
from dynamodb_processor_server.dynamodb.backend import Backend, Content, RequestTarget
from dynamodb_processor_server.errors import BackendUnavailable, DeadlineExceeded
from dynamodb_processor_server.query.expression.values import Value, WireItem, from_wire
from dynamodb_processor_server.reader import (
    NO_USAGE,
    BatchGetRequest,
    BatchGetResult,
    ReadOptions,
    Usage,
)

_Key = tuple[Value, ...]


class DynamoDBItemReader:
    """Gets items from DynamoDB. `now` gives seconds since the epoch."""

    def __init__(self, backend: Backend, now: Callable[[], float] = time.time) -> None:
        self._backend = backend
        self._now = now

    async def get_items(self, lookup: BatchGetRequest, limits: ReadOptions) -> BatchGetResult:
        """Return what could be read within `limits`; see `ItemReader`."""
        names = lookup.table.schema.base.cursor_attributes
        places = {_key(key, names): place for place, key in enumerate(lookup.keys)}
        target = _target(lookup)
        usage, read_at, rounds = NO_USAGE, self._now(), 0
        pending, found = _admitted(lookup)
        try:
            async with asyncio.timeout_at(limits.hard_deadline):
                while pending:
                    answer, used = await self._ask(target, lookup, pending, limits.hard_deadline)
                    usage += used
                    rounds += 1
                    unprocessed = _unprocessed(answer, lookup)
                    idle = len(unprocessed) == len(pending)
                    found.update(_outcomes(answer, lookup, places, pending, unprocessed, read_at))
                    pending = unprocessed
                    if not pending or _spent(usage, limits):
                        break
                    if not await self._backend.backoff_before_unprocessed(
                        target, rounds, idle=idle
                    ):
                        break  # what it did give is not lost
        except TimeoutError:
            if not usage.backend_calls:
                raise DeadlineExceeded("the deadline passed before anything was read") from None
        except BackendUnavailable:
            # A throttled DynamoDB has refused what it left before; what it did give is not lost.
            if not usage.backend_calls:
                raise
        return BatchGetResult(found, usage, read_at)

    async def _ask(
        self,
        target: RequestTarget,
        lookup: BatchGetRequest,
        keys: Sequence[WireItem],
        deadline: float,
    ) -> tuple[Content, Usage]:
        request: Any = {**lookup.request, "Keys": list(keys)}
        if lookup.consistent:
            request["ConsistentRead"] = True

        async def ask(client: Any) -> Content:
            answer = await client.batch_get_item(
                RequestItems={lookup.table.schema.name: request}, ReturnConsumedCapacity="TOTAL"
            )
            return cast("Content", answer)

        answer = await self._backend.read(target, ask, deadline)
        content = answer.content
        items = content["Responses"].get(lookup.table.schema.name, ())
        return content, Usage(
            items_scanned=len(items),
            read_units=answer.read_units,
            backend_calls=answer.attempts,
            retries=answer.attempts - 1,
            backend_time=answer.seconds,
        )


def _target(lookup: BatchGetRequest) -> RequestTarget:
    declaration = lookup.table.config
    return RequestTarget(lookup.table.name, declaration.region, declaration.role_arn)


def _admitted(lookup: BatchGetRequest) -> tuple[Sequence[WireItem], dict[int, WireItem | None]]:
    """Return the keys to ask for, and None for those that say themselves that they are hidden."""
    rule = lookup.rule
    if rule is None:
        return lookup.keys, {}
    hidden: dict[int, WireItem | None] = {
        place: None
        for place, key in enumerate(lookup.keys)
        if not rule.admits_key(lookup.table.view.expanded(key, 0.0))
    }
    return [key for place, key in enumerate(lookup.keys) if place not in hidden], hidden


def _key(item: WireItem, names: Sequence[str]) -> _Key:
    return tuple(from_wire(item[name]) for name in names)


def _unprocessed(answer: Mapping[str, Any], lookup: BatchGetRequest) -> list[WireItem]:
    left = answer.get("UnprocessedKeys", {}).get(lookup.table.schema.name, {})
    return list(left.get("Keys", ()))


def _outcomes(
    answer: Mapping[str, Any],
    lookup: BatchGetRequest,
    places: Mapping[_Key, int],
    asked: Sequence[WireItem],
    unprocessed: Sequence[WireItem],
    now: float,
) -> dict[int, WireItem | None]:
    """Return what one answer says: items, and None for keys that it neither has nor put off."""
    names = lookup.table.schema.base.cursor_attributes
    put_off = {_key(key, names) for key in unprocessed}
    outcomes: dict[int, WireItem | None] = {
        places[key]: None for key in (_key(key, names) for key in asked) if key not in put_off
    }
    for stored in answer["Responses"].get(lookup.table.schema.name, ()):
        item = lookup.table.view.expanded(stored, now)
        if not has_expired(item) and (lookup.rule is None or lookup.rule.admits(item)):
            outcomes[places[_key(item, names)]] = item
    return outcomes


def _spent(usage: Usage, limits: ReadOptions) -> bool:
    units = limits.max_read_units
    late = asyncio.get_running_loop().time() >= limits.soft_deadline
    return late or (units is not None and usage.read_units >= units)
