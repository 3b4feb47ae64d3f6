# Written by `make proto` from the asynchronous client's `getting.py`. Do not edit.
"""The loop over the calls that a get of any number of keys needs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, TypeAlias

from dynamodb_processor.v1.query_service_pb2 import BatchGetItemsRequest, BatchGetItemsResponse
from dynamodb_processor.v1.value_pb2 import Item as ItemMessage
from dynamodb_processor_client.errors import Internal, Unavailable
from dynamodb_processor_client.gets import FoundItems
from dynamodb_processor_client.pages import CacheInfo, PageStats, read_time_of
from dynamodb_processor_client.sync.deadlines import Deadline
from dynamodb_processor_client.sync.resume_policy import ResumePolicy
from dynamodb_processor_client.values import Item, decode_item

BatchGetCall: TypeAlias = Callable[[BatchGetItemsRequest, float | None], BatchGetItemsResponse]
_MAX_KEYS: Final = 100  # in one call


def get_all(
    call: BatchGetCall,
    request: BatchGetItemsRequest,
    keys: Iterable[ItemMessage],
    deadline: Deadline,
    policy: ResumePolicy,
) -> FoundItems:
    """Return the item of each key, in the order of the keys; `None` for a key without an item.

    `request` has every field except the keys. Keys that the service defers are requested again. If
    a call returns only deferred keys, the next one follows after a pause of `policy`.

    Raises:
        QueryError: The service refused or deferred the same keys too often, or the deadline passed
            before every key was read.
    """
    pending = deque(enumerate(keys))
    found = FoundItems([None] * len(pending))
    idle = 0
    while pending:
        asked = [pending.popleft() for _ in range(min(_MAX_KEYS, len(pending)))]
        del request.keys[:]
        request.keys.extend(key for _, key in asked)
        left = len(asked) + len(pending)
        response = deadline.call(partial(call, request), _progress(left, found))
        found.stats += PageStats.from_message(response.stats)
        found.read_time = found.read_time or read_time_of(response)
        found.cache = found.cache or CacheInfo.from_message(response.cache)
        deferred = _store_results(response, asked, found)
        pending.extendleft(reversed(deferred))
        idle = idle + 1 if len(deferred) == len(asked) else 0
        if idle:
            _wait(idle, _progress(left, found), deadline, policy)
    return found


def _store_results(
    response: BatchGetItemsResponse,
    asked: list[tuple[int, ItemMessage]],
    found: list[Item | None],
) -> list[tuple[int, ItemMessage]]:
    """Store the items in `found`, and return the deferred keys."""
    if len(response.results) != len(asked):
        raise Internal("the service left out results", reason="RESULTS_INCOMPLETE")
    deferred: list[tuple[int, ItemMessage]] = []
    for (index, key), result in zip(asked, response.results, strict=True):
        match result.WhichOneof("result"):
            case "item":
                found[index] = decode_item(result.item)
            case "deferred_key":
                deferred.append((index, key))
            case "missing_key":
                pass
            case _:
                raise Internal(
                    "the service sent a result of a kind that this client does not know; "
                    "update the client",
                    reason="UNKNOWN_RESULT_KIND",
                )
    return deferred


def _wait(idle: int, progress: str, deadline: Deadline, policy: ResumePolicy) -> None:
    """Pause before the next attempt, or raise if the attempts or the time do not suffice."""
    error = Unavailable(f"the service keeps deferring keys; {progress}", reason="KEYS_DEFERRED")
    if idle > policy.attempts:
        raise error
    pause = policy.backoff_delay(idle, error)
    deadline.remaining(pause, progress)
    policy.sleep(pause)


def _progress(left: int, found: list[Item | None]) -> str:
    return f"{left} of {len(found)} keys were not read by then"
