"""Tests of `ExplainQuery`: the plan of a query, in terms of the expression language."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import grpc
import pytest

from dynamodb_processor.v1.query_pb2 import AccessPath, QuerySpec
from dynamodb_processor.v1.query_service_pb2 import ExplainQueryRequest, ExplainQueryResponse
from dynamodb_processor.v1.value_pb2 import AttributeValue
from tests.rpc.data import ULRIKE, VIKTOR, events_catalog
from tests.rpc.logged import Logged
from tests.rpc.violating import good, refusal
from tests.support.running import (
    Service,
    eventually,
    open_service,
    query_spec,
    refusal_of,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

Code = grpc.StatusCode


@dataclass(frozen=True, slots=True)
class Row:
    """A query and its explanation; `warnings` are the first words of the warnings."""

    spec: QuerySpec
    path: str
    index: str = ""
    key: str = ""
    filter: str = ""
    local: str = ""
    branches: int = 1
    warnings: tuple[str, ...] = ()
    rejected: dict[str, str] = field(default_factory=dict)


_FIX: Final = "the condition does not fix {} with = or IN"
_LESS: Final = "{} narrows more"
_GET: Final = "@table gets the one item that can match"
_HELD: Final = "@table narrows as much and holds all that is asked for"
_KIND: Final = (
    "@table narrows as much, and the table is preferred to indexes, local ones to global ones"
)
_ROWS: Final = {
    "one item": Row(
        query_spec("events", "user_id = 'u' AND 7.0 = at AND note <> 'x'"),
        "GET",
        key="user_id = 'u' AND at = 7",
        local="note <> 'x'",
        rejected={"by_level": _GET, "by_kind": _FIX.format("kind"),
                  "by_system": _FIX.format("system_id")},
    ),
    "table": Row(
        query_spec("events", "user_id = 'u' AND at >= 3"),
        "TABLE",
        key="user_id = 'u' AND at >= 3",
        rejected={"by_level": _LESS.format("@table"), "by_kind": _FIX.format("kind"),
                  "by_system": _FIX.format("system_id")},
    ),
    "excluded end": Row(
        query_spec("events", "user_id = 'u' AND at > 3 AND at <= 9"),
        "TABLE",
        key="user_id = 'u' AND at BETWEEN 3 AND 9",
        local="at > 3",
    ),
    "filter": Row(
        query_spec("events", "user_id = 'u' AND at > 3 AND contains(note, 'it''s')"),
        "TABLE",
        key="user_id = 'u' AND at > 3",
        filter="contains(note, 'it''s')",
        warnings=("filter: everything in the range",),
    ),
    "filter of the service": Row(
        query_spec("events", "user_id = 'u' AND (at = 3 OR NOT at < 9)"),
        "TABLE",
        key="user_id = 'u'",
        local="at = 3 OR NOT at < 9",
        warnings=("filter: everything in the partition",),
    ),
    "local index": Row(
        query_spec("events", "user_id = 'u' AND level = 3"),
        "LOCAL_INDEX",
        index="by_level",
        key="user_id = 'u' AND level = 3",
        rejected={"@table": _LESS.format("by_level"), "by_kind": _FIX.format("kind"),
                  "by_system": _FIX.format("system_id")},
    ),
    "global index": Row(
        query_spec("events", "system_id = 'crm' AND at < 20"),
        "GLOBAL_INDEX",
        index="by_system",
        key="system_id = 'crm' AND at < 20",
        rejected={"@table": _FIX.format("user_id"), "by_level": _FIX.format("user_id"),
                  "by_kind": _FIX.format("kind")},
    ),
    "index that does not hold everything": Row(
        query_spec("events", "user_id = 'u' AND kind = 'login'"),
        "TABLE",
        key="user_id = 'u'",
        filter="kind = 'login'",
        warnings=("filter:",),
        rejected={"by_level": _HELD, "by_system": _FIX.format("system_id"),
                  "by_kind": _HELD},
    ),
    "index that does not hold what is asked for": Row(
        query_spec("events", "kind = 'login' AND begins_with(note, 'c') AND address.city = 'Lund'"),
        "GLOBAL_INDEX",
        index="by_kind",
        key="kind = 'login'",
        filter="begins_with(note, 'c')",
        local="address.city = 'Lund'",
        warnings=("filter: everything in the partition", "hydration: the index does not hold"),
        rejected={"@table": _FIX.format("user_id"), "by_level": _FIX.format("user_id"),
                  "by_system": _FIX.format("system_id")},
    ),
    "sparse index": Row(
        query_spec("scannable", "user_id = 'u' AND system_id = 'crm' AND level <> 3"),
        "TABLE",
        key="user_id = 'u'",
        filter="system_id = 'crm' AND level <> 3",
        warnings=("filter:",),
        rejected={
            "by_level": "the index holds only items that have level as a number, which neither the "
            "condition nor the catalog guarantees; ways out: the operator can set required: "
            "[level] in the catalog if every item has it, or sparse: allow if items without it may "
            "be left out; the caller can set index: by_level to accept that, or compare level with "
            "=, IN or a range",
            "by_kind": _FIX.format("kind"),
            "by_system": _KIND,
        },
    ),
    "text without its quotes": Row(
        query_spec("scannable", "note = hello AND note IN (hello, 'x')"),
        "SCAN",
        filter="note = hello AND note IN (hello, 'x')",
        warnings=("scan:", "names: hello is an attribute's name; if the text is meant, write"),
    ),
    "consistent read": Row(
        query_spec("events", "user_id = 'u' AND system_id = 'crm' AND at = 3 AND at <> 4",
                   consistency="CONSISTENCY_STRONG"),
        "GET",
        key="user_id = 'u' AND at = 3",
        local="system_id = 'crm' AND at <> 4",
        rejected={"by_level": _GET, "by_kind": _FIX.format("kind"),
                  "by_system": "global indexes have no consistent reads"},
    ),
    "forced index": Row(
        query_spec("events", "user_id = 'u' AND level = 3", index="@table"),
        "TABLE",
        key="user_id = 'u'",
        filter="level = 3",
        warnings=("filter:",),
        rejected={},
    ),
    "several partitions": Row(
        query_spec("events", "user_id IN ('u', 'v', 'u') OR user_id = 'w'"),
        "TABLE",
        key="user_id IN ('u', 'v', 'w')",
        branches=3,
        warnings=("branches: each Query call reads into all 3 partitions again",),
    ),
    "contradiction": Row(
        query_spec("events", "user_id = 'u' AND at > 5 AND at < 4"),
        "NOTHING",
        branches=0,
    ),
    "scan": Row(
        query_spec("scannable"),
        "SCAN",
        warnings=("scan: every page reads on",),
        rejected={"by_level": _FIX.format("user_id"), "by_kind": _FIX.format("kind"),
                  "by_system": _FIX.format("system_id")},
    ),
    "scan with a filter": Row(
        query_spec("scannable", "user_id <> 'u'"),
        "SCAN",
        filter="user_id <> 'u'",
        warnings=("scan:",),
    ),
    "scan of an index": Row(
        query_spec("scannable", "level = 3", index="by_system"),
        "SCAN",
        index="by_system",
        filter="level = 3",
        warnings=("scan:",),
        rejected={},
    ),
    "attributes that are not shown": Row(
        query_spec("narrow", "user_id = 'u' AND level > 3"),
        "LOCAL_INDEX",
        index="by_level",
        key="user_id = 'u' AND level > 3",
        rejected={"@table": _LESS.format("by_level")},
    ),
}  # fmt: skip


def path_of(answer: ExplainQueryResponse) -> str:
    """Return the access path of a query."""
    return AccessPath.Name(answer.path).removeprefix("ACCESS_PATH_")


@pytest.mark.parametrize("row", _ROWS.values(), ids=_ROWS)
async def test_a_query_is_explained(service: Service, row: Row) -> None:
    """The explanation has the path, the parts of the condition, other paths and warnings."""
    answer = await service.explain(row.spec)
    assert path_of(answer) == row.path
    assert answer.index == row.index
    assert answer.key_condition == row.key
    assert answer.filter_expression == row.filter
    assert answer.local_filter == row.local
    assert answer.branches == row.branches
    assert len(answer.warnings) == len(row.warnings)
    assert all(map(str.startswith, answer.warnings, row.warnings))
    rejected = {other.index: other.reason for other in answer.rejected}
    assert len(rejected) == len(answer.rejected)
    if row.rejected or row.spec.index:
        assert rejected == row.rejected
    assert answer.index not in rejected


async def test_every_way_to_reach_items_is_explained_above() -> None:
    """The test fails if a new access path has no row."""
    names = {name.removeprefix("ACCESS_PATH_") for name in AccessPath.keys()}  # noqa: SIM118 - not a dict
    assert {row.path for row in _ROWS.values()} == names - {"UNSPECIFIED"}


async def test_the_explained_path_is_used(service: Service) -> None:
    """The page comes from the explained path."""
    for row in _ROWS.values():
        answer = await service.explain(row.spec)
        page = await service.query(row.spec)
        assert page.stats.index_used == answer.index
        assert bool(page.stats.backend_calls) == (path_of(answer) != "NOTHING")


async def test_values_that_cannot_be_written_out_have_a_name(service: Service) -> None:
    """All other values are written as literals of the language."""
    text = "user_id = :u AND at > :at AND note IN (:bytes, :null, :true) AND size(note) < 5"
    values = {
        "u": "u's",
        "at": -15,
        "bytes": b"\x00",
        "null": AttributeValue(null=True),
        "true": True,
    }
    answer = await service.explain(query_spec("events", text, parameters=values))
    assert answer.key_condition == "user_id = 'u''s' AND at > -15"
    assert answer.filter_expression == "note IN (:v1, null, true) AND size(note) < 5"


async def test_nothing_is_read(
    tmp_path: Path, dynamodb_local: str, events: str, logged: Logged
) -> None:
    """The only request to DynamoDB is the description of a table at its first use."""
    async with open_service(tmp_path, dynamodb_local, events_catalog(events)) as service:
        for row in _ROWS.values():
            await service.explain(row.spec)
        records = await eventually(
            lambda: found if len(found := logged.of("call")) == len(_ROWS) else None
        )
    assert {record["method"].rpartition("/")[2] for record in records} == {"ExplainQuery"}
    assert {(record["messages"], record["read_units"], record["cache"]) for record in records} == {
        (0, 0, "")
    }
    assert {record["table"] for record in records} == {"events", "narrow", "scannable"}


_SCAN: Final = query_spec("events", "contains(note, 'x')")


@pytest.mark.parametrize(
    ("spec", "caller", "code", "reason"),
    [
        (_SCAN, "reports", Code.FAILED_PRECONDITION, "SCAN_NOT_ALLOWED"),
        (good(index="by_kind"), "reports", Code.FAILED_PRECONDITION, "INDEX_NOT_USABLE"),
        (query_spec("no-such", "a = 1"), "reports", Code.NOT_FOUND, "TABLE_NOT_FOUND"),
        (good(), "narrow", Code.PERMISSION_DENIED, "PERMISSION_DENIED"),
        (query_spec("no-such", "a ="), "narrow", Code.PERMISSION_DENIED, "PERMISSION_DENIED"),
        (query_spec("events", "user_id ="), "reports", Code.INVALID_ARGUMENT, "INVALID_REQUEST"),
    ],
)
async def test_an_unreadable_query_is_refused_in_the_same_way(
    service: Service, spec: QuerySpec, caller: str, code: Code, reason: str
) -> None:
    """`Query` refuses it with the same text."""
    said = []
    for call in (service.explain, service.query):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(spec, key=caller)
        found = refusal_of(caught.value)
        assert (found.code, found.reason) == (code, reason)
        said.append(found.message)
    assert said[0] == said[1]


async def test_a_bad_query_is_refused_with_its_fields(service: Service) -> None:
    """All violations are reported at once."""
    found = await refusal(service, ExplainQueryRequest(query=good(order=77, max_items=0)))
    assert found.fields == ["query.order", "query.max_items"]


async def test_hidden_keys_are_not_named(service: Service) -> None:
    """An index is not named to callers that may not see its key."""
    for user in (ULRIKE, VIKTOR):
        spec = query_spec("narrow", "user_id = :u", parameters={"u": user})
        text = str(await service.explain(spec, key="narrow"))
        for hidden in ("system_id", "by_system", "kind", "by_kind", "note"):
            assert hidden not in text
