"""Tests of row rules: each caller sees only the items that its grant allows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from dynamodb_processor.v1 import query_pb2
from dynamodb_processor.v1.cache_service_pb2 import GetCacheStatsRequest
from dynamodb_processor.v1.catalog_service_pb2 import GetTableRequest
from dynamodb_processor.v1.query_service_pb2 import (
    CountItemsRequest,
)
from tests.rpc.data import ULRIKE, VIKTOR, events_catalog
from tests.rpc.granting import CRM, KEYS, RULE, get_items, get_table, of, refused
from tests.rpc.logged import Logged
from tests.support.lengths import PATIENCE
from tests.support.running import (
    Service,
    eventually,
    make_key,
    numbers,
    open_service,
    query_spec,
    refusal_of,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

Code = grpc.StatusCode
_BYPASS = query_pb2.CachePolicy(mode=query_pb2.CACHE_MODE_BYPASS)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def doors(tmp_path_factory: pytest.TempPathFactory, dynamodb_local: str, events: str) -> Any:
    """A server with a key for each kind of grant."""
    directory = tmp_path_factory.mktemp("grants")
    async with open_service(directory, dynamodb_local, events_catalog(events), KEYS) as running:
        yield running


async def test_an_empty_question_is_about_what_one_may_have(doors: Service) -> None:
    """The rule fixes the partition; the price is told, since it is that of one's own items."""
    page = await doors.query(query_spec("events"), key="crm", cache=_BYPASS, page_size=1_000)
    assert page.stats.items_returned == 128
    assert page.stats.items_scanned == 128
    assert page.stats.index_used == "by_system"
    assert {item.attributes["system_id"].s for item in page.items} == {"crm"}


async def test_what_belongs_to_others_is_not_even_read(doors: Service) -> None:
    """A question outside the rule is answered empty."""
    page = await doors.query(query_spec("events", "system_id = 'billing'"), key="crm")
    assert (page.end, page.stats.backend_calls) == (query_pb2.PAGE_END_EXHAUSTED, 0)
    assert not page.items


async def test_a_question_by_another_key_reads_within_the_rule(doors: Service) -> None:
    """Where items pass over hidden ones only as a filter, the same items come either way."""
    within = await doors.query(of(VIKTOR), key="crm")
    across = await doors.query(of(VIKTOR), key="filtered")
    assert numbers(within.items, "at") == numbers(across.items, "at") == [1, 3, 5]
    assert (within.stats.index_used, across.stats.index_used) == ("by_system", "")


async def test_a_rule_counts_in_counts_and_in_max_items(doors: Service) -> None:
    """Hidden items are nowhere in a number."""
    for key in ("crm", "filtered"):
        request = CountItemsRequest(query=of(ULRIKE))
        count = await doors.queries.CountItems(
            request, metadata=doors.metadata(key), timeout=PATIENCE
        )
        assert count.total.value == 125
        assert count.total.relation == query_pb2.TOTAL_RELATION_EXACT
        limited = of(ULRIKE)
        limited.max_items = 3
        page = await doors.query(limited, key=key)
        assert (numbers(page.items, "at"), page.next_page_token) == ([1, 3, 5], "")


async def test_hidden_items_are_missing_when_got(doors: Service) -> None:
    """As those that are not there."""
    found = await get_items(doors, "crm", 1, 2, 77)
    assert [result.WhichOneof("result") for result in found.results] == [
        "item", "missing_key", "missing_key",
    ]  # fmt: skip


async def test_a_cost_that_would_tell_is_withheld_from_the_caller_alone(
    doors: Service, logged: Logged
) -> None:
    """The operator's log has it."""
    page = await doors.query(of(VIKTOR), key="filtered", cache=_BYPASS)
    assert page.stats == query_pb2.PageStats(items_returned=3)
    (record,) = await eventually(lambda: logged.of("call"))
    assert record["read_units"] > 0


@pytest.mark.parametrize("budget", [{"max_scanned_items": 5}, {"max_read_units": 0.5}])
async def test_a_budget_that_would_tell_is_refused(doors: Service, budget: dict[str, Any]) -> None:
    """It would end a page by what is hidden; a duration, which does so but roughly, is good."""
    ((name, _),) = budget.items()
    spent = query_pb2.Budget(**budget)
    refusal = await refused(doors.query(of(VIKTOR), key="filtered", budget=spent))
    assert (refusal.code, refusal.fields) == (Code.INVALID_ARGUMENT, [f"budget.{name}"])
    request = CountItemsRequest(query=of(VIKTOR), budget=spent)
    count = doors.queries.CountItems(request, metadata=doors.metadata("filtered"), timeout=PATIENCE)
    assert (await refused(count)).fields == [f"budget.{name}"]
    refusal = await refused(get_items(doors, "filtered", 1, budget=spent))
    assert refusal.fields == [f"budget.{name}"]
    assert (await doors.query(of(VIKTOR), key="crm", budget=spent)).items


async def test_pages_are_shared_under_equal_rules_only(doors: Service, logged: Logged) -> None:
    """A page of one tenant never goes to another, or to who has none; between equals it does.

    What the cache did is in the log. Who has a rule is not told, nor when the page was read.
    """

    async def status(key: str) -> str:
        logged.clear()
        page = await doors.query(query_spec("events", "at > -123"), key=key)
        assert page.HasField("cache") is page.HasField("read_time") is False
        (record,) = await eventually(lambda: logged.of("call"))
        return str(record["cache"])

    assert [await status(key) for key in ("crm", "billing", "filtered", "owner")] == ["MISS"] * 4
    assert [await status(key) for key in ("crm-too", "billing")] == ["HIT"] * 2


async def test_a_rule_may_be_about_what_is_not_granted(doors: Service) -> None:
    """Its attribute is then nowhere to be seen, though its index is read."""
    page = await doors.query(query_spec("events", "at < 4"), key="owner")
    assert page.stats.index_used == "by_system"
    assert {name for item in page.items for name in item.attributes} == {"user_id", "at", "note"}
    refusal = await refused(doors.query(query_spec("events", "system_id = 'crm'"), key="owner"))
    assert "has no system_id" in refusal.message
    table = await get_table(doors, "owner")
    (index,) = table.indexes
    assert (index.name, list(index.key.partition)) == ("by_system", [])
    assert [attribute.name for attribute in index.key.sort] == ["at"]


async def test_scans_are_announced_only_where_a_rule_lets_them(doors: Service) -> None:
    """A table's policies are described as they are for the caller."""
    allowed = {}
    for key in ("all", "crm", "filtered"):
        request = GetTableRequest(table="scannable")
        answer = await doors.catalog.GetTable(
            request, metadata=doors.metadata(key), timeout=PATIENCE
        )
        allowed[key] = answer.table.allow_scan
    assert allowed == {"all": True, "crm": False, "filtered": True}


async def test_a_rule_that_does_not_fit_the_table_lets_nobody_read(doors: Service) -> None:
    """The caller is told nothing of it."""
    refusal = await refused(doors.query(of(VIKTOR), key="unfit"))
    assert refusal.code is Code.INTERNAL
    assert "rule" not in refusal.message
    assert (await refused(get_items(doors, "unfit", 1))).code is Code.INTERNAL


async def test_a_narrower_grant_is_in_force_at_once(
    tmp_path: Path, dynamodb_local: str, events: str
) -> None:
    """What was planned, cached and begun under the wider one does not outlive it."""
    wide = make_key("tenant")
    async with open_service(tmp_path, dynamodb_local, events_catalog(events), [wide]) as service:
        before = await service.query(of(VIKTOR), page_size=2)
        assert numbers(before.items, "at") == [1, 2]
        service.write_keys(type(wide)(wide.text, {**wide.entry, "tables": [CRM]}))

        async def narrowed() -> bool:
            try:
                page = await service.query(of(VIKTOR), page_size=2)
            except grpc.aio.AioRpcError as error:  # the grant changed during the call
                if refusal_of(error).reason != "ACCESS_CHANGED":
                    raise
                return False
            return numbers(page.items, "at") == [1, 3]

        await eventually(narrowed)
        refusal = await refused(
            service.query(of(VIKTOR), page_size=2, page_token=before.next_page_token)
        )
        assert refusal.fields == ["page_token"]


async def test_the_numbers_of_the_cache_go_through_the_grant(
    tmp_path: Path, dynamodb_local: str, events: str
) -> None:
    """Tables that are not granted, or in part, are not in the total either."""
    keys = [
        make_key("all", roles=["reader", "admin"]),
        make_key("one", roles=["admin"], tables=["events"]),
        make_key("ruled", roles=["admin"], tables=[{"table": "events", "rule": RULE}, "narrow"]),
    ]
    async with open_service(tmp_path, dynamodb_local, events_catalog(events), keys) as own:
        for table in ("events", "narrow", "scannable"):
            await own.query(query_spec(table, "user_id = :u", parameters={"u": VIKTOR}))
        seen = {}
        for key in ("all", "one", "ruled"):
            call = own.cache.GetCacheStats(
                GetCacheStatsRequest(), metadata=own.metadata(key), timeout=PATIENCE
            )
            answer = await call
            seen[key] = ([one.table for one in answer.tables], answer.total.misses)
        assert seen == {
            "all": (["events", "narrow", "scannable"], 3),
            "one": (["events"], 1),
            "ruled": (["narrow"], 1),
        }
