"""Tests of attribute grants: each caller sees only the granted attributes of a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest

from dynamodb_processor.v1 import query_pb2
from dynamodb_processor.v1.query_service_pb2 import (
    ExplainQueryRequest,
)
from tests.rpc.data import VIKTOR
from tests.rpc.granting import GRANT_KEYS, get_items, get_table, of
from tests.support.lengths import PATIENCE
from tests.support.running import (
    Service,
    make_key,
    open_service,
    query_spec,
    refused,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

Code = grpc.StatusCode
KEYS = GRANT_KEYS
_BYPASS = query_pb2.CachePolicy(mode=query_pb2.CACHE_MODE_BYPASS)


async def test_items_have_only_granted_attributes(service: Service) -> None:
    """Pages and gets have only granted attributes, even if the table has others."""
    page = await service.query(of(VIKTOR), key="plain")
    (first, *_), found = page.items, await get_items(service, "plain", 1)
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
async def test_hidden_attributes_do_not_exist_for_callers(
    service: Service, fields: dict[str, Any], field: str, words: str
) -> None:
    """In conditions, projections and indexes they are refused like attributes that do not exist."""
    spec = query_pb2.QuerySpec(**{"table": "events", "expression": "user_id = 'u'", **fields})
    refusal = await refused(service.query(spec, key="plain"))
    assert refusal.code is Code.INVALID_ARGUMENT
    assert words in refusal.descriptions[field]


async def test_refusals_and_explanations_name_no_hidden_key(service: Service) -> None:
    """Hidden keys are named neither as advice nor as a reason."""
    refusal = await refused(service.query(query_spec("events", "level > 3"), key="plain"))
    assert refusal.reason == "SCAN_NOT_ALLOWED"
    request = ExplainQueryRequest(query=of(VIKTOR))
    text = await service.queries.ExplainQuery(
        request, metadata=service.metadata("plain"), timeout=PATIENCE
    )
    for hidden in ("system", "kind"):
        assert hidden not in refusal.message
        assert hidden not in str(text)
    assert [other.index for other in text.rejected] == ["by_level"]


async def test_a_table_is_described_as_far_as_it_is_granted(service: Service) -> None:
    """Keys, indexes, projections and required attributes are described as far as granted."""
    table = await get_table(service, "plain")
    assert set(table.visible_attributes) == {"user_id", "at", "level"}
    assert [index.name for index in table.indexes] == ["by_level"]
    assert list(table.required_attributes) == ["level"]
    keyless = await get_table(service, "keyless")
    assert [attribute.name for attribute in keyless.key.partition] == ["user_id"]
    assert not keyless.key.sort
    assert [index.name for index in keyless.indexes] == ["by_level"]


async def test_without_the_whole_key_nothing_is_got_by_key(service: Service) -> None:
    """The refusal does not name the key's attributes; queries by granted attributes work."""
    refusal = await refused(get_items(service, "keyless", 1))
    assert (refusal.code, refusal.message) == (
        Code.PERMISSION_DENIED,
        "the key of table events is not granted",
    )
    page = await service.query(of(VIKTOR), key="keyless")
    assert {name for item in page.items for name in item.attributes} == {
        "user_id", "level", "note",
    }  # fmt: skip


async def test_properties_of_hidden_attributes_are_hidden(
    tmp_path: Path, dynamodb_local: str, events: str
) -> None:
    """A key without the attribute does not learn that it is a time to live or a timestamp."""
    narrow = [{"table": "events", "attributes": ["user_id", "at"]}]
    keys = [make_key("all"), make_key("narrow", tables=narrow, roles=["reader", "admin"])]
    entry = {
        "table": events,
        "time_to_live": "gone_at",
        "hide_expired": True,
        "timestamps": {"made_at": "iso8601"},
    }
    async with open_service(tmp_path, dynamodb_local, {"tables": {"events": entry}}, keys) as own:
        assert (await get_table(own, "all")).time_to_live_attribute == "gone_at"
        shown = await get_table(own, "narrow")
        assert shown.time_to_live_attribute == ""
        assert not shown.timestamp_attributes
        refusals = [
            await refused(own.invalidate("events", key="narrow", **{name: "no time"}))
            for name in ("made_at", "nothing")
        ]
        text, other = [refusal.message.partition(" ")[2] for refusal in refusals]
        assert text.replace("made_at", "nothing") == other
