"""Tests of page size, budget and cache policy of a call, and of all violations at once."""

from __future__ import annotations

import math
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from dynamodb_processor.v1.query_pb2 import Budget, CachePolicy, TotalOptions
from dynamodb_processor.v1.query_service_pb2 import QueryRequest, StreamQueryRequest
from tests.rpc.violating import good, refusal, unknown
from tests.support.running import Service

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOUR = Duration(seconds=3600)
OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "page size": ({"page_size": -1}, "page_size"),
    "no scanned items": ({"budget": Budget(max_scanned_items=0)}, "budget.max_scanned_items"),
    "negative scanned": ({"budget": Budget(max_scanned_items=-1)}, "budget.max_scanned_items"),
    "no read units": ({"budget": Budget(max_read_units=0)}, "budget.max_read_units"),
    "negative units": ({"budget": Budget(max_read_units=-0.5)}, "budget.max_read_units"),
    "nan units": ({"budget": Budget(max_read_units=math.nan)}, "budget.max_read_units"),
    "infinite units": ({"budget": Budget(max_read_units=math.inf)}, "budget.max_read_units"),
    "no time": ({"budget": Budget(max_duration=Duration())}, "budget.max_duration"),
    "negative time": ({"budget": Budget(max_duration=Duration(seconds=-1))}, "budget.max_duration"),
    "mixed signs": (
        {"budget": Budget(max_duration=Duration(seconds=1, nanos=-1))}, "budget.max_duration"
    ),
    "too many nanos": (
        {"budget": Budget(max_duration=Duration(nanos=1_000_000_000))}, "budget.max_duration"
    ),
    "10,000 years": (
        {"budget": Budget(max_duration=Duration(seconds=315_576_000_001))}, "budget.max_duration"
    ),
    "cache mode": ({"cache": CachePolicy(mode=9)}, "cache.mode"),  # type: ignore[arg-type]
    "staleness": (
        {"cache": CachePolicy(max_staleness=Duration(nanos=-1))}, "cache.max_staleness"
    ),
    "unknown limit": ({"budget": unknown(Budget(max_scanned_items=5))}, "budget"),
    "unknown time": ({"budget": Budget(max_duration=unknown(HOUR))}, "budget.max_duration"),
    "unknown cache policy": ({"cache": unknown(CachePolicy())}, "cache"),
    "unknown total": ({"total": unknown(TotalOptions())}, "total"),
}  # fmt: skip


@pytest.mark.parametrize("row", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("kind", [QueryRequest, StreamQueryRequest], ids=["Query", "StreamQuery"])
async def test_invalid_options_are_refused_with_their_field(
    service: Service,
    row: tuple[dict[str, Any], str],
    kind: type[QueryRequest | StreamQueryRequest],
) -> None:
    """The options of a call besides the query have rules as well."""
    fields, path = row
    found = await refusal(service, kind(query=good(), **fields))
    assert found.fields == [path]


async def test_all_violations_are_reported_at_once(service: Service) -> None:
    """Violations of the options and of the query come in one error."""
    spec = good(order=77, consistency=78, max_items=0, projection=["a..b"])
    spec.expression = "user_id ="
    request = QueryRequest(
        query=spec,
        page_size=-1,
        budget=Budget(max_scanned_items=0, max_duration=Duration(seconds=-1)),
        cache=CachePolicy(max_staleness=Duration(seconds=-1)),
    )
    found = await refusal(service, request)
    assert set(found.fields) == {
        "page_size",
        "budget.max_scanned_items",
        "budget.max_duration",
        "cache.max_staleness",
        "query.order",
        "query.consistency",
        "query.max_items",
        "query.projection[0]",
        "query.expression",
    }


async def test_a_cached_plan_does_not_excuse_invalid_options(service: Service) -> None:
    """A cached plan makes no difference to the rest of the request."""
    await service.query(good())
    found = await refusal(service, QueryRequest(query=good(), page_size=-3))
    assert found.descriptions == {"page_size": "must not be negative, is -3"}


@pytest.mark.parametrize(
    "fields",
    [
        {"budget": Budget(max_duration=Duration(nanos=999_999_999))},
        {"budget": Budget(max_scanned_items=2**62, max_read_units=1e300)},
        {"cache": CachePolicy(max_staleness=Duration())},
        {"cache": CachePolicy(max_staleness=Duration(seconds=315_576_000_000))},
        {"page_size": 2**31 - 1},
    ],
)
async def test_the_ends_of_the_ranges_are_valid(service: Service, fields: dict[str, Any]) -> None:
    """All values that the contract allows are accepted, even large ones."""
    page = await service.query(good(), **fields)
    assert page.stats.items_returned == 5
