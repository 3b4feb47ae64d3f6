"""Counts that are not cached yet, and the parts of their responses."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Final

from dynamodb_processor.v1.query_pb2 import (
    CACHE_MODE_BYPASS,
    TOTAL_MODE_BOUNDED,
    CachePolicy,
    CacheStatus,
    PageEnd,
    QuerySpec,
    TotalOptions,
    TotalRelation,
)
from dynamodb_processor.v1.query_service_pb2 import CountItemsResponse, QueryResponse
from tests.rpc.data import ULRIKE
from tests.support.running import Service, query_spec

BYPASS: Final = CachePolicy(mode=CACHE_MODE_BYPASS)
lows = itertools.count(-1_000_000)


def fresh(user: str = ULRIKE, more: str = "", /, table: str = "events", **fields: Any) -> QuerySpec:
    """Return a query that is not cached yet: all of a user's events, in another spelling."""
    parameters = {"u": user, "low": next(lows)}
    return query_spec(table, f"user_id = :u AND at > :low {more}", parameters=parameters, **fields)


def up_to(number: int) -> TotalOptions:
    """Return the options of a bounded count."""
    return TotalOptions(mode=TOTAL_MODE_BOUNDED, up_to=number)


def said(answer: CountItemsResponse) -> tuple[int, str, str]:
    """Return the number, its relation to the true number, and the reason why counting ended."""
    relation = TotalRelation.Name(answer.total.relation).removeprefix("TOTAL_RELATION_")
    return answer.total.value, relation, PageEnd.Name(answer.end).removeprefix("PAGE_END_")


def status(answer: CountItemsResponse | QueryResponse) -> str:
    """Return the cache status of a response."""
    return CacheStatus.Name(answer.cache.status).removeprefix("CACHE_STATUS_")


async def every_call(
    service: Service, spec: QuerySpec, **fields: Any
) -> Sequence[CountItemsResponse]:
    """Return the responses of a whole chain of tokens."""
    answers, token = [], ""
    while True:
        answers.append(await service.count(spec, page_token=token, **fields))
        token = answers[-1].next_page_token
        if not token:
            return answers
