"""Tests of `CountItems`: the cache, tokens, violations and the access log."""

from __future__ import annotations

from typing import Any, Final

import grpc
import pytest

from dynamodb_processor.v1.query_pb2 import (
    CACHE_MODE_ONLY_IF_CACHED,
    TOTAL_MODE_BOUNDED,
    TOTAL_MODE_EXACT,
    Budget,
    CachePolicy,
    TotalOptions,
)
from dynamodb_processor.v1.query_service_pb2 import CountItemsRequest
from tests.rpc.counting import fresh, said, status, up_to
from tests.rpc.data import VIKTOR
from tests.rpc.logged import Logged
from tests.rpc.violating import good, refusal
from tests.support.running import Service, eventually, query_spec, refusal_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_the_second_count_comes_from_the_cache(service: Service) -> None:
    """All callers that may read the table get it, with its read time, at no cost."""
    spec = fresh()
    miss = await service.count(spec)
    hit = await service.count(spec, key="other")
    assert (status(miss), status(hit)) == ("MISS", "HIT")
    assert (hit.total, hit.end, hit.read_time) == (miss.total, miss.end, miss.read_time)
    assert hit.stats.backend_calls == hit.stats.read_units == hit.stats.items_scanned == 0
    assert hit.cache.HasField("expires_in")
    only = CachePolicy(mode=CACHE_MODE_ONLY_IF_CACHED)
    assert said(await service.count(spec, cache=only)) == (250, "EXACT", "EXHAUSTED")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.count(fresh(), cache=only)
    assert refusal_of(caught.value).reason == "NOT_CACHED"


async def test_a_count_and_a_page_are_different_entries(service: Service) -> None:
    """One entry has a number, the other items."""
    spec = fresh(VIKTOR)
    assert len((await service.query(spec, page_size=100)).items) == 5
    assert said(await service.count(spec)) == (5, "EXACT", "EXHAUSTED")
    assert len((await service.query(spec, page_size=100)).items) == 5
    # A page size that the page has as well.
    assert said(await service.count(spec, total=up_to(100))) == (5, "EXACT", "EXHAUSTED")


async def test_a_count_cut_by_a_budget_is_not_kept(service: Service) -> None:
    """Another caller did not set that budget."""
    spec = fresh()
    cut = await service.count(spec, budget=Budget(max_scanned_items=10))
    assert not cut.cache.HasField("expires_in")
    assert said(await service.count(spec)) == (250, "EXACT", "EXHAUSTED")


async def test_tokens_of_pages_and_of_counts_are_not_each_others(service: Service) -> None:
    """They have different contents, so the other method refuses each."""
    spec = fresh()
    page = await service.query(spec, page_size=10)
    count = await service.count(spec, budget=Budget(max_scanned_items=10))
    assert page.next_page_token
    assert count.next_page_token
    calls: list[tuple[Any, str]] = [
        (service.count, page.next_page_token), (service.query, count.next_page_token)
    ]  # fmt: skip
    for call, token in calls:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(spec, page_token=token)
        (text,) = refusal_of(caught.value).descriptions.items()
        assert text[0] == "page_token"
        assert text[1].startswith("is not a token of this query and caller")
    request = CountItemsRequest(query=spec, page_token="nonsense")
    assert (await refusal(service, request)).fields == ["page_token"]


_BAD: Final[dict[str, tuple[dict[str, Any], str, str]]] = {
    "max_items": ({"query": good(max_items=5)}, "query.max_items", "no difference to a count"),
    "unknown mode": ({"total": {"mode": 9}}, "total.mode", "9 is not a value"),
    "no bound": ({"total": {"mode": TOTAL_MODE_BOUNDED}}, "total.up_to", "TOTAL_MODE_BOUNDED"),
    "bound 0": ({"total": up_to(0)}, "total.up_to", "more than 0"),
    "negative bound": ({"total": up_to(-1)}, "total.up_to", "more than 0"),
    "bound of an exact count": (
        {"total": {"mode": TOTAL_MODE_EXACT, "up_to": 5}}, "total.up_to", "TOTAL_MODE_BOUNDED"
    ),
    "bound without a mode": ({"total": {"up_to": 5}}, "total.up_to", "TOTAL_MODE_BOUNDED"),
    "budget": ({"budget": {"max_scanned_items": 0}}, "budget.max_scanned_items", "more than 0"),
    "cache": ({"cache": {"mode": 77}}, "cache.mode", "77 is not a value"),
    "expression": ({"query": query_spec("events", "user_id =")}, "query.expression", "expected"),
    "attribute that is not shown": (
        {"query": query_spec("narrow", "user_id = 'x' AND note = 'y'")},
        "query.expression", "narrow has no note",
    ),
    "projection that is not shown": (
        {"query": query_spec("narrow", "user_id = 'x'", projection=["note"])},
        "query.projection[0]", "narrow has no note",
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", _BAD.values(), ids=_BAD)
async def test_a_bad_count_is_refused_with_its_field(
    service: Service, row: tuple[dict[str, Any], str, str]
) -> None:
    """The violation has the field's path and the reason."""
    fields, field, words = row
    found = await refusal(service, CountItemsRequest(**({"query": good()} | fields)))
    assert found.fields == [field]
    assert words in found.descriptions[field]


async def test_all_violations_of_a_count_are_reported_at_once(service: Service) -> None:
    """A caller need not repeat the call for the next violation."""
    request = CountItemsRequest(
        query=good(max_items=3, order=77),
        total=TotalOptions(up_to=5),
        budget=Budget(max_read_units=-1),
    )
    found = await refusal(service, request)
    assert set(found.fields) == {
        "query.max_items", "query.order", "total.up_to", "budget.max_read_units"
    }  # fmt: skip


async def test_a_count_has_one_line_in_the_access_log(service: Service, logged: Logged) -> None:
    """The line has no items, and the cost."""
    answer = await service.count(fresh())
    (record,) = await eventually(lambda: logged.of("call"))
    assert record["method"].endswith("/CountItems")
    assert (record["table"], record["cache"], record["items"]) == ("events", "MISS", 0)
    assert record["read_units"] == answer.stats.read_units > 0
