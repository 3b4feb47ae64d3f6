"""Tests of row rules: each caller sees only the items that its grant allows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest

from dynamodb_processor.v1 import query_pb2
from dynamodb_processor.v1.cache_service_pb2 import GetCacheStatsRequest
from dynamodb_processor.v1.catalog_service_pb2 import GetTableRequest
from dynamodb_processor.v1.query_service_pb2 import (
    CountItemsRequest,
)
from tests.rpc.data import ULRIKE, VIKTOR, events_catalog
from tests.rpc.granting import CRM, GRANT_KEYS, RULE, get_items, get_table, of
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
    refused,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

Code = grpc.StatusCode
KEYS = GRANT_KEYS
_EXACT = query_pb2.TotalOptions(mode=query_pb2.TOTAL_MODE_EXACT)
_BYPASS = query_pb2.CachePolicy(mode=query_pb2.CACHE_MODE_BYPASS)


async def test_a_query_without_a_condition_reads_granted_items(service: Service) -> None:
    """The rule fixes the partition; the cost is returned, as it is that of own items."""
    page = await service.query(query_spec("events"), key="crm", cache=_BYPASS, page_size=1_000)
    assert page.stats.items_returned == 128
    assert page.stats.items_scanned == 128
    assert page.stats.index_used == "by_system"
    assert {item.attributes["system_id"].s for item in page.items} == {"crm"}


async def test_queries_outside_the_rule_read_nothing(service: Service) -> None:
    """A query outside the rule has an empty result."""
    page = await service.query(query_spec("events", "system_id = 'billing'"), key="crm")
    assert (page.end, page.stats.backend_calls) == (query_pb2.PAGE_END_EXHAUSTED, 0)
    assert not page.items


async def test_a_query_by_another_key_reads_within_the_rule(service: Service) -> None:
    """The items are the same if the rule is only a filter that skips hidden items."""
    within = await service.query(of(VIKTOR), key="crm")
    across = await service.query(of(VIKTOR), key="filtered")
    assert numbers(within.items, "at") == numbers(across.items, "at") == [1, 3, 5]
    assert (within.stats.index_used, across.stats.index_used) == ("by_system", "")


async def test_counts_and_max_items_leave_out_hidden_items(service: Service) -> None:
    """Hidden items are part of no number."""
    for key in ("crm", "filtered"):
        request = CountItemsRequest(query=of(ULRIKE))
        count = await service.queries.CountItems(
            request, metadata=service.metadata(key), timeout=PATIENCE
        )
        assert count.total.value == 125
        assert count.total.relation == query_pb2.TOTAL_RELATION_EXACT
        limited = of(ULRIKE)
        limited.max_items = 3
        page = await service.query(limited, key=key)
        assert (numbers(page.items, "at"), page.next_page_token) == ([1, 3, 5], "")


async def test_hidden_items_are_missing_when_got(service: Service) -> None:
    """The result is that of items that do not exist."""
    found = await get_items(service, "crm", 1, 2, 77)
    assert [result.WhichOneof("result") for result in found.results] == [
        "item", "missing_key", "missing_key",
    ]  # fmt: skip


async def test_a_cost_that_reveals_hidden_items_is_only_logged(
    service: Service, logged: Logged
) -> None:
    """The caller does not get the cost, but the operator's log has it."""
    page = await service.query(of(VIKTOR), key="filtered", cache=_BYPASS)
    assert page.stats == query_pb2.PageStats(items_returned=3)
    (record,) = await eventually(lambda: logged.of("call"))
    assert record["read_units"] > 0


@pytest.mark.parametrize("budget", [{"max_scanned_items": 5}, {"max_read_units": 0.5}])
async def test_a_budget_that_reveals_hidden_items_is_refused(
    service: Service, budget: dict[str, Any]
) -> None:
    """It would end a page at hidden items; a duration, which does so only roughly, is allowed."""
    ((name, _),) = budget.items()
    spent = query_pb2.Budget(**budget)
    refusal = await refused(service.query(of(VIKTOR), key="filtered", budget=spent))
    assert (refusal.code, refusal.fields) == (Code.INVALID_ARGUMENT, [f"budget.{name}"])
    request = CountItemsRequest(query=of(VIKTOR), budget=spent)
    count = service.queries.CountItems(
        request, metadata=service.metadata("filtered"), timeout=PATIENCE
    )
    assert (await refused(count)).fields == [f"budget.{name}"]
    refusal = await refused(get_items(service, "filtered", 1, budget=spent))
    assert refusal.fields == [f"budget.{name}"]
    assert (await service.query(of(VIKTOR), key="crm", budget=spent)).items


async def test_pages_are_shared_under_equal_rules_only(service: Service, logged: Logged) -> None:
    """A tenant's page is shared with callers of an equal rule, never with others or with none.

    The log has the cache status. A caller with a rule gets neither it nor the read time.
    """

    async def status(key: str) -> str:
        logged.clear()
        page = await service.query(query_spec("events", "at > -123"), key=key)
        assert page.HasField("cache") is page.HasField("read_time") is False
        (record,) = await eventually(lambda: logged.of("call"))
        return str(record["cache"])

    assert [await status(key) for key in ("crm", "billing", "filtered", "owner")] == ["MISS"] * 4
    assert [await status(key) for key in ("crm-too", "billing")] == ["HIT"] * 2
    assert [await status(key) for key in ("own-crm", "own-billing")] == ["HIT"] * 2


async def test_a_rule_may_name_the_principal(service: Service) -> None:
    """Its value is a constant of the key condition, so no other item is read."""
    for key, system in (("own-crm", "crm"), ("own-billing", "billing")):
        page = await service.query(query_spec("events"), key=key, cache=_BYPASS, page_size=1_000)
        assert page.stats.index_used == "by_system"
        assert page.stats.items_scanned == page.stats.items_returned > 100
        assert {item.attributes["system_id"].s for item in page.items} == {system}


async def test_a_name_that_does_not_fit_the_rule_is_denied(service: Service) -> None:
    """The rule is not shown; another principal's name might fit it."""
    for call in (service.query(of(VIKTOR), key="own-unfit"), get_items(service, "own-unfit", 1)):
        refusal = await refused(call)
        assert refusal.code is Code.PERMISSION_DENIED
        assert "do not fit the access rule of table events" in refusal.message


async def test_a_rule_may_be_about_a_hidden_attribute(service: Service) -> None:
    """Neither the rule's attribute nor its index is shown, although the index is read."""
    page = await service.query(query_spec("events", "at < 4"), key="owner", cache=_BYPASS)
    assert page.stats.index_used == ""
    assert page.stats.items_scanned == len(page.items) > 0
    assert {name for item in page.items for name in item.attributes} == {"user_id", "at", "note"}
    refusal = await refused(service.query(query_spec("events", "system_id = 'crm'"), key="owner"))
    assert "has no system_id" in refusal.message
    assert not (await get_table(service, "owner")).indexes
    explained = await service.explain(of(VIKTOR), key="owner")
    assert (explained.path, explained.index) == (query_pb2.ACCESS_PATH_GLOBAL_INDEX, "")
    assert "system" not in str(explained)


async def test_a_hidden_index_cannot_be_named(service: Service) -> None:
    """It is refused like one that the table does not have, also where a rule fixes its key."""
    descriptions = []
    for index in ("by_system", "by_nobody"):
        spec = query_spec("events", "at < 4", index=index)
        refusal = await refused(service.query(spec, key="owner"))
        assert refusal.code is Code.INVALID_ARGUMENT
        descriptions.append(refusal.descriptions["query.index"].replace(index, "it"))
    assert descriptions[0] == descriptions[1]
    spec = query_spec("events", "at < 4", index="by_system")
    assert (await service.query(spec, key="crm")).stats.index_used == "by_system"


async def test_a_hidden_index_serves_every_page_and_the_total(service: Service) -> None:
    """Tokens keep the index of the first page, and the total is counted on it."""
    spec, token, found = query_spec("events", "at < 8"), "", []
    while True:
        page = await service.query(spec, key="owner", page_size=3, page_token=token, total=_EXACT)
        found += numbers(page.items, "at")
        assert (page.total.value, page.stats.index_used) == (7, "")
        token = page.next_page_token
        if not token:
            break
    assert sorted(found) == [1, 1, 3, 3, 5, 5, 7]
    stream = await service.messages(spec, key="owner", page_size=3)
    assert {message.stats.index_used for message in stream} == {""}
    count = await service.count(spec, key="owner")
    assert (count.total.value, count.stats.index_used) == (7, "")


async def test_scans_are_announced_only_where_a_rule_allows_them(service: Service) -> None:
    """A table's policies are described as they are for the caller."""
    allowed = {}
    for key in ("all", "crm", "filtered"):
        request = GetTableRequest(table="scannable")
        answer = await service.catalog.GetTable(
            request, metadata=service.metadata(key), timeout=PATIENCE
        )
        allowed[key] = answer.table.allow_scan
    assert allowed == {"all": True, "crm": False, "filtered": True}


async def test_a_rule_that_does_not_fit_the_table_refuses_reads(service: Service) -> None:
    """The caller does not get the reason."""
    refusal = await refused(service.query(of(VIKTOR), key="unfit"))
    assert refusal.code is Code.INTERNAL
    assert "rule" not in refusal.message
    assert (await refused(get_items(service, "unfit", 1))).code is Code.INTERNAL


async def test_a_narrower_grant_is_in_force_at_once(
    tmp_path: Path, dynamodb_local: str, events: str
) -> None:
    """Plans, cached pages and tokens from the wider grant are no longer used."""
    wide = make_key("tenant")
    async with open_service(tmp_path, dynamodb_local, events_catalog(events), [wide]) as service:
        before = await service.query(of(VIKTOR), page_size=2)
        assert numbers(before.items, "at") == [1, 2]
        service.write_keys(type(wide)(wide.text, {**wide.entry, "tables": [CRM]}))

        async def restricted() -> bool:
            try:
                page = await service.query(of(VIKTOR), page_size=2)
            except grpc.aio.AioRpcError as error:  # the grant changed during the call
                if refusal_of(error).reason != "ACCESS_CHANGED":
                    raise
                return False
            return numbers(page.items, "at") == [1, 3]

        await eventually(restricted)
        refusal = await refused(
            service.query(of(VIKTOR), page_size=2, page_token=before.next_page_token)
        )
        assert refusal.fields == ["page_token"]


async def test_cache_statistics_cover_granted_tables(
    tmp_path: Path, dynamodb_local: str, events: str
) -> None:
    """Tables that are not granted, or only in part, are not in the total either."""
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
