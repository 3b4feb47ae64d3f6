"""Attribute grants and row rules at the wire: what each caller sees of one and the same table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from dynamodb_processor.v1 import query_pb2
from dynamodb_processor.v1.cache_service_pb2 import GetCacheStatsRequest
from dynamodb_processor.v1.catalog_service_pb2 import GetTableRequest, Table
from dynamodb_processor.v1.query_service_pb2 import (
    BatchGetItemsRequest,
    BatchGetItemsResponse,
    CountItemsRequest,
    ExplainQueryRequest,
)
from dynamodb_processor.v1.value_pb2 import AttributeValue, Item
from tests.rpc.data import ULRIKE, VIKTOR, events_catalog
from tests.rpc.logged import Logged
from tests.support.lengths import PATIENCE
from tests.support.running import (
    Refusal,
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
_RULE = "system_id = 'crm'"
_CRM = {"table": "*", "rule": _RULE}
_KEYS = [
    make_key("all"),
    make_key("crm", tables=[_CRM]),
    make_key("crm-too", tables=[{**_CRM, "table": "events"}]),
    make_key("billing", tables=[{**_CRM, "rule": "system_id = 'billing'"}]),
    make_key("filtered", tables=[{**_CRM, "rule_as_filter": True}]),
    make_key("plain", tables=[{"table": "events", "attributes": ["user_id", "at", "level"]}]),
    make_key("keyless", tables=[{"table": "events", "attributes": ["user_id", "level", "note"]}]),
    make_key("unfit", tables=[{"table": "events", "rule": "at = 'yesterday'"}]),
    make_key(
        "owner",
        tables=[{**_CRM, "attributes": ["user_id", "at", "note"]}],
    ),
]


def of(user: str, more: str = "") -> query_pb2.QuerySpec:
    """Return a query of one user's events."""
    return query_spec("events", f"user_id = :u{more}", parameters={"u": user})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def doors(tmp_path_factory: pytest.TempPathFactory, dynamodb_local: str, events: str) -> Any:
    """A server with a key for each kind of grant."""
    directory = tmp_path_factory.mktemp("grants")
    async with open_service(directory, dynamodb_local, events_catalog(events), _KEYS) as running:
        yield running


async def refused(call: Any) -> Refusal:
    """Return how a call fails."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return refusal_of(caught.value)


async def get_table(service: Service, key: str) -> Table:
    """Return the events table as a key's holder sees it."""
    request = GetTableRequest(table="events")
    answer = await service.catalog.GetTable(
        request, metadata=service.metadata(key), timeout=PATIENCE
    )
    return answer.table


async def get_items(service: Service, key: str, *at: int, **fields: Any) -> BatchGetItemsResponse:
    """Return what is found of a user's events with these numbers."""
    keys = [
        Item(attributes={"user_id": AttributeValue(s=VIKTOR), "at": AttributeValue(n=str(number))})
        for number in at
    ]
    request = BatchGetItemsRequest(table="events", keys=keys, **fields)
    return await service.queries.BatchGetItems(
        request, metadata=service.metadata(key), timeout=PATIENCE
    )


# Attributes


async def test_items_hold_what_is_granted(doors: Service) -> None:
    """In pages and in gets, whatever the table holds."""
    page = await doors.query(of(VIKTOR), key="plain")
    (first, *_), found = page.items, await get_items(doors, "plain", 1)
    granted = {"user_id", "at", "level"}
    assert set(first.attributes) == set(found.results[0].item.attributes) == granted


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"expression": "user_id = 'u' AND note = 'n'"}, "query.expression", "has no note"),
        ({"expression": "size(note) > 3"}, "query.expression", "column 6: events has no note"),
        ({"projection": ["user_id", "note"]}, "query.projection[1]", "events has no note"),
        ({"index": "by_system"}, "query.index", "events has no index 'by_system'"),
        ({"index": "by_none"}, "query.index", "events has no index 'by_none'"),
    ],
)
async def test_what_is_not_granted_does_not_exist(
    doors: Service, fields: dict[str, Any], field: str, words: str
) -> None:
    """In conditions, projections and indexes: refused as what never was."""
    spec = query_pb2.QuerySpec(**{"table": "events", "expression": "user_id = 'u'", **fields})
    refusal = await refused(doors.query(spec, key="plain"))
    assert refusal.code is Code.INVALID_ARGUMENT
    assert words in refusal.descriptions[field]


async def test_refusals_and_explanations_name_no_hidden_key(doors: Service) -> None:
    """Neither as advice nor as a reason."""
    refusal = await refused(doors.query(query_spec("events", "level > 3"), key="plain"))
    assert refusal.reason == "SCAN_NOT_ALLOWED"
    request = ExplainQueryRequest(query=of(VIKTOR))
    told = await doors.queries.ExplainQuery(
        request, metadata=doors.metadata("plain"), timeout=PATIENCE
    )
    for hidden in ("system", "kind"):
        assert hidden not in refusal.message
        assert hidden not in str(told)
    assert [other.index for other in told.rejected] == ["by_level"]


async def test_a_table_is_described_as_far_as_it_is_granted(doors: Service) -> None:
    """Its key, its indexes, what they hold, and what every item has."""
    table = await get_table(doors, "plain")
    assert set(table.visible_attributes) == {"user_id", "at", "level"}
    assert [index.name for index in table.indexes] == ["by_level"]
    assert list(table.required_attributes) == ["level"]
    keyless = await get_table(doors, "keyless")
    assert [attribute.name for attribute in keyless.key.partition] == ["user_id"]
    assert not keyless.key.sort
    assert [index.name for index in keyless.indexes] == ["by_level"]


async def test_without_the_whole_key_nothing_is_got_by_key(doors: Service) -> None:
    """The key's attributes are not named; queries by what is granted of it are answered."""
    refusal = await refused(get_items(doors, "keyless", 1))
    assert (refusal.code, refusal.message) == (
        Code.PERMISSION_DENIED,
        "the key of table events is not granted",
    )
    page = await doors.query(of(VIKTOR), key="keyless")
    assert {name for item in page.items for name in item.attributes} == {
        "user_id", "level", "note",
    }  # fmt: skip


# Row rules


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
        service.write_keys(type(wide)(wide.text, {**wide.entry, "tables": [_CRM]}))

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


async def test_what_is_declared_of_an_attribute_goes_through_the_grant(
    tmp_path: Path, dynamodb_local: str, events: str
) -> None:
    """That it is a time to live or a timestamp is not told to a key without it."""
    narrow = [{"table": "events", "attributes": ["user_id", "at"]}]
    keys = [make_key("all"), make_key("narrow", tables=narrow, roles=["reader", "admin"])]
    declared = {
        "table": events,
        "time_to_live": "gone_at",
        "hide_expired": True,
        "timestamps": {"made_at": "iso8601"},
    }
    async with open_service(
        tmp_path, dynamodb_local, {"tables": {"events": declared}}, keys
    ) as own:
        assert (await get_table(own, "all")).time_to_live_attribute == "gone_at"
        shown = await get_table(own, "narrow")
        assert shown.time_to_live_attribute == ""
        assert not shown.timestamp_attributes
        refusals = [
            await refused(own.invalidate("events", key="narrow", **{name: "no time"}))
            for name in ("made_at", "nothing")
        ]
        told, untold = [refusal.message.partition(" ")[2] for refusal in refusals]
        assert told.replace("made_at", "nothing") == untold


async def test_the_numbers_of_the_cache_go_through_the_grant(
    tmp_path: Path, dynamodb_local: str, events: str
) -> None:
    """Tables that are not granted, or in part, are not in the total either."""
    keys = [
        make_key("all", roles=["reader", "admin"]),
        make_key("one", roles=["admin"], tables=["events"]),
        make_key("ruled", roles=["admin"], tables=[{"table": "events", "rule": _RULE}, "narrow"]),
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
