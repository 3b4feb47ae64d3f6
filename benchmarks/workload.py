"""The workload: a table of events, 1,000 different requests for it, and the order of the calls."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any, Final

from dynamodb_processor.v1.query_pb2 import QuerySpec
from dynamodb_processor.v1.query_service_pb2 import BatchGetItemsRequest, QueryRequest
from dynamodb_processor.v1.value_pb2 import AttributeValue, Item

TABLE: Final = "bench_events"
PAGE_SIZE: Final = 100
REQUESTS: Final = 1_000
SCHEDULE: Final = 50_000
ZIPF: Final = 0.99  # The exponent that YCSB made customary for caches and stores.
TOKEN_SHARE: Final = 0.3
SEED: Final = 20260101
ITEM_KEYS: Final = 100_000  # of which gets draw theirs by Zipf's law
GET_KEYS: Final = 10  # of each get

_USERS: Final = 40
_RANGES: Final = 25  # Of each user: 40 times 25 are the requests.
_STEP: Final = 4  # Items between the starts of two ranges.
_EVENTS: Final = 300  # Of each user: two pages from the start of the last range on.
_ACTIONS: Final = ("login", "logout", "read", "update", "delete", "export", "share")
_SYSTEMS: Final = ("crm", "billing", "warehouse", "support", "identity")
#: The table as DynamoDB describes it.
DESCRIPTION: Final[dict[str, Any]] = {
    "TableName": TABLE,
    "KeySchema": [
        {"AttributeName": "user_id", "KeyType": "HASH"},
        {"AttributeName": "occurred_at", "KeyType": "RANGE"},
    ],
    "AttributeDefinitions": [
        {"AttributeName": name, "AttributeType": "S"} for name in ("user_id", "occurred_at")
    ],
    "TableArn": f"arn:aws:dynamodb:eu-west-1:000000000000:table/{TABLE}",
    "TableId": "00000000-0000-0000-0000-000000000000",
    "TableStatus": "ACTIVE",
    "ItemCount": 12_000,
    "TableSizeBytes": 3_000_000,
}


def first_pages() -> list[QueryRequest]:
    """Return the first page's request of every query, the most popular one first."""
    queries = [(owner, first) for owner in range(_USERS) for first in range(_RANGES)]
    random.Random(SEED).shuffle(queries)
    return [_request(user(owner), _time(first * _STEP), _time(_EVENTS)) for owner, first in queries]


def second_page_ranks() -> frozenset[int]:
    """Return the ranks of the queries whose second page is requested, with a token.

    They are spread over the popular and the rare so that they are TOKEN_SHARE of the calls.
    """
    chosen: set[int] = set()
    seen = chosen_weight = 0.0
    for rank, weight in enumerate(_weights()):
        seen += weight
        if chosen_weight + weight / 2 <= TOKEN_SHARE * seen:
            chosen.add(rank)
            chosen_weight += weight
    return frozenset(chosen)


def schedule() -> list[int]:
    """Return the ranks of the queries in the order in which they are called."""
    weights = list(accumulate(_weights()))
    return random.Random(SEED).choices(range(REQUESTS), cum_weights=weights, k=SCHEDULE)


def gets() -> list[BatchGetItemsRequest]:
    """Return different gets of some items each; the popular items are in many of them."""
    source = random.Random(SEED)
    weights = list(accumulate(_weights(ITEM_KEYS)))
    requests = []
    for _ in range(REQUESTS):
        ranks: dict[int, None] = {}
        while len(ranks) < GET_KEYS:
            ranks |= dict.fromkeys(source.choices(range(ITEM_KEYS), cum_weights=weights))
        requests.append(BatchGetItemsRequest(table=TABLE, keys=map(_item_key, ranks)))
    return requests


def _item_key(rank: int) -> Item:
    owner, event = divmod(rank, _EVENTS)
    values = {"user_id": user(owner), "occurred_at": _time(event)}
    return Item(attributes={name: AttributeValue(s=value) for name, value in values.items()})


def _weights(ranks: int = REQUESTS) -> Iterator[float]:
    return (1 / rank**ZIPF for rank in range(1, ranks + 1))


def _request(owner: str, start: str, end: str) -> QueryRequest:
    parameters = {"user": owner, "start": start, "end": end}
    query = QuerySpec(
        table=TABLE,
        expression="user_id = :user AND occurred_at BETWEEN :start AND :end",
        parameters={name: AttributeValue(s=value) for name, value in parameters.items()},
    )
    return QueryRequest(query=query, page_size=PAGE_SIZE)


def items(count: int, owner: int = 0) -> Iterator[dict[str, Any]]:
    """Yield events of a user: ten attributes each, of the usual types. Always the same ones."""
    source = random.Random(SEED + owner)
    for event in range(count):
        yield {
            "user_id": user(owner),
            "occurred_at": _time(event),
            "event_id": f"{source.getrandbits(64):016x}",
            "system_id": source.choice(_SYSTEMS),
            "action": source.choice(_ACTIONS),
            "resource": f"document/{source.randrange(100_000):06d}",
            "address": f"10.{source.randrange(256)}.{source.randrange(256)}.7",
            "duration_ms": source.randrange(1, 5_000),
            "succeeded": source.random() < 0.95,
            "tags": {"audit", source.choice(("web", "mobile", "batch"))},
        }


def as_dynamodb_json(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event in the form in which DynamoDB sends it."""
    return {name: _typed(value) for name, value in item.items()}


def _typed(value: Any) -> dict[str, Any]:
    match value:
        case bool():
            return {"BOOL": value}
        case int():
            return {"N": str(value)}
        case set():
            return {"SS": sorted(value)}
    return {"S": value}


def user(number: int) -> str:
    """Return the key of a user."""
    return f"user-{number:04d}"


def _time(event: int) -> str:
    """Return the time of a user's event: one an hour."""
    return f"2026-01-{1 + event // 24:02d}T{event % 24:02d}:00:00.000Z"
