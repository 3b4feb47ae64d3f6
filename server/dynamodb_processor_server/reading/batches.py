"""Gets items by key: what BatchGetItem leaves unprocessed is asked for again, and nothing is lost.

DynamoDB answers in any order, at most 16 MB, and gives back the keys it had no room or capacity
for.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from dynamodb_processor_server.catalog.view import EXPIRED
from dynamodb_processor_server.errors import BackendUnavailable, DeadlineExceeded
from dynamodb_processor_server.query.values import Value, WireItem, from_wire
from dynamodb_processor_server.reading.clients import Clients
from dynamodb_processor_server.reading.failures import translate
from dynamodb_processor_server.reading.port import NO_USAGE, Found, Limits, Lookup, Usage

_FIRST_PAUSE: Final = 0.025  # seconds, doubled with each round that leaves keys unprocessed
_LONGEST_PAUSE: Final = 1.0

_Key = tuple[Value, ...]


class DynamoDBItemReader:
    """Gets items from DynamoDB.

    `now` gives seconds since the epoch, `jitter` a number from 0 to 1.
    """

    def __init__(
        self,
        clients: Clients,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._clients = clients
        self._now = now
        self._sleep = sleep
        self._jitter = jitter

    async def get_items(self, lookup: Lookup, limits: Limits) -> Found:
        """Return what could be read within `limits`; see `ItemReader`."""
        names = lookup.table.schema.base.position
        places = {_key(key, names): place for place, key in enumerate(lookup.keys)}
        usage, read_at, pause = NO_USAGE, self._now(), _FIRST_PAUSE
        pending, found = _admitted(lookup)
        try:
            async with asyncio.timeout_at(limits.deadline):
                while pending:
                    answer, used = await self._ask(lookup, pending)
                    usage += used
                    unprocessed = _unprocessed(answer, lookup)
                    found.update(_outcomes(answer, lookup, places, pending, unprocessed, read_at))
                    pending = unprocessed
                    if not pending or _spent(usage, limits):
                        break
                    await self._sleep(pause * self._jitter())
                    pause = min(2 * pause, _LONGEST_PAUSE)
        except TimeoutError:
            if not usage.backend_calls:
                raise DeadlineExceeded("the deadline passed before anything was read") from None
        except BackendUnavailable:
            # A throttled DynamoDB has refused what it left before; what it did give is not lost.
            if not usage.backend_calls:
                raise
        return Found(found, usage, read_at)

    async def _ask(
        self, lookup: Lookup, keys: Sequence[WireItem]
    ) -> tuple[Mapping[str, Any], Usage]:
        request: Any = {**lookup.request, "Keys": list(keys)}
        if lookup.strong:
            request["ConsistentRead"] = True
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            declaration = lookup.table.declaration
            client = await self._clients.client(declaration.region, declaration.role_arn)
            answer: Mapping[str, Any] = await client.batch_get_item(
                RequestItems={lookup.table.schema.name: request},
                ReturnConsumedCapacity="TOTAL",
            )
        except Exception as error:
            raise translate(error, lookup.table.name) from error
        items = answer["Responses"].get(lookup.table.schema.name, ())
        return answer, Usage(
            items_scanned=len(items),
            read_units=sum(used["CapacityUnits"] for used in answer.get("ConsumedCapacity", ())),
            backend_calls=1,
            retries=answer["ResponseMetadata"].get("RetryAttempts", 0),
            backend_time=loop.time() - began,
        )


def _admitted(lookup: Lookup) -> tuple[Sequence[WireItem], dict[int, WireItem | None]]:
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


def _unprocessed(answer: Mapping[str, Any], lookup: Lookup) -> list[WireItem]:
    left = answer.get("UnprocessedKeys", {}).get(lookup.table.schema.name, {})
    return list(left.get("Keys", ()))


def _outcomes(
    answer: Mapping[str, Any],
    lookup: Lookup,
    places: Mapping[_Key, int],
    asked: Sequence[WireItem],
    unprocessed: Sequence[WireItem],
    now: float,
) -> dict[int, WireItem | None]:
    """Return what one answer says: items, and None for keys that it neither has nor put off."""
    names = lookup.table.schema.base.position
    put_off = {_key(key, names) for key in unprocessed}
    outcomes: dict[int, WireItem | None] = {
        places[key]: None for key in (_key(key, names) for key in asked) if key not in put_off
    }
    for stored in answer["Responses"].get(lookup.table.schema.name, ()):
        item = lookup.table.view.expanded(stored, now)
        if EXPIRED not in item and (lookup.rule is None or lookup.rule.admits(item)):
            outcomes[places[_key(item, names)]] = item
    return outcomes


def _spent(usage: Usage, limits: Limits) -> bool:
    units = limits.max_read_units
    late = asyncio.get_running_loop().time() >= limits.answer_by
    return late or (units is not None and usage.read_units >= units)
