"""Tests of the mode in which missing grants are logged and let through."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
import pytest
import pytest_asyncio

from dynamodb_processor.v1.catalog_service_pb2 import ListTablesRequest
from tests.rpc.data import VIKTOR, events_catalog
from tests.rpc.granting import CRM, of
from tests.rpc.logged import Logged
from tests.support.lengths import PATIENCE
from tests.support.running import (
    Service,
    eventually,
    make_key,
    numbers,
    open_service,
    query_spec,
    refused,
)
from tests.support.scraping import metric

pytestmark = pytest.mark.asyncio(loop_scope="module")

Code = grpc.StatusCode
_KEYS: Final = [
    make_key("tenant", tables=[{**CRM, "table": "events"}]),
    make_key("plain", tables=[{"table": "events", "attributes": ["user_id", "at", "level"]}]),
    make_key("all"),
    make_key("operator", tables=["narrow"], roles=["admin"]),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(
    tmp_path_factory: pytest.TempPathFactory, dynamodb_local: str, events: str
) -> AsyncIterator[Service]:
    """A server whose grants only warn."""
    async with open_service(
        tmp_path_factory.mktemp("service"),
        dynamodb_local,
        events_catalog(events),
        _KEYS,
        grants="warn",
        metrics_listen="127.0.0.1:0",
    ) as running:
        yield running


async def warned(service: Service, logged: Logged, key: str, table: str) -> bool:
    """Return whether a query of a table is logged as one that no grant allows."""
    logged.clear()
    spec = query_spec(table, "user_id = :u", parameters={"u": VIKTOR})
    assert (await service.query(spec, key=key)).items
    await eventually(lambda: logged.of("call"))
    return bool(logged.of("table_not_granted"))


async def test_a_call_without_a_grant_is_let_through_logged_and_counted(
    service: Service, logged: Logged
) -> None:
    """Each one is, also if a caller with a grant has read the same page before."""
    assert not await warned(service, logged, "all", "narrow")
    before = await metric(service, "grant_warnings_total", table="narrow")
    for _ in range(2):
        assert await warned(service, logged, "tenant", "narrow")
        (line,) = logged.of("table_not_granted")
        assert (line["level"], line["principal"], line["key_id"], line["table"]) == (
            "warning", "tenant", "tenant", "narrow",
        )  # fmt: skip
        assert line["request_id"] == logged.of("call")[0]["request_id"]
    assert not await warned(service, logged, "all", "narrow")
    assert await metric(service, "grant_warnings_total", table="narrow") == before + 2


async def test_a_grant_that_names_the_table_holds_whole(service: Service, logged: Logged) -> None:
    """Its row rule and its attributes are enforced, and nothing is logged."""
    assert not await warned(service, logged, "tenant", "events")
    assert numbers((await service.query(of(VIKTOR), key="tenant")).items, "at") == [1, 3, 5]
    page = await service.query(of(VIKTOR), key="plain")
    assert {name for item in page.items for name in item.attributes} == {"user_id", "at", "level"}
    spec = query_spec("events", "user_id = 'x' AND note = 'x'")
    refusal = await refused(service.query(spec, key="plain"))
    assert (refusal.code, refusal.reason) == (Code.INVALID_ARGUMENT, "INVALID_REQUEST")


async def test_roles_and_keys_are_enforced(service: Service) -> None:
    """The mode is about tables alone."""
    refusal = await refused(service.query(of(VIKTOR), key="operator"))
    assert refusal.code is Code.PERMISSION_DENIED
    refusal = await refused(service.invalidate("events", key="tenant"))
    assert refusal.code is Code.PERMISSION_DENIED
    service.keys["unknown"] = make_key("unknown")
    refusal = await refused(service.query(of(VIKTOR), key="unknown"))
    assert refusal.code is Code.UNAUTHENTICATED


async def test_other_calls_about_a_table_are_let_through(service: Service, logged: Logged) -> None:
    """Streams, counts and invalidations are; a table that does not exist is not found."""
    logged.clear()
    spec = query_spec("narrow", "user_id = :u", parameters={"u": VIKTOR})
    assert await service.messages(spec, key="tenant")
    assert (await service.count(spec, key="tenant")).total.value == 5
    await service.invalidate("events", key="operator")
    await eventually(lambda: len(logged.of("call")) == 3)
    assert len(logged.of("table_not_granted")) == 3
    refusal = await refused(service.query(query_spec("nothing", "a = 1"), key="tenant"))
    assert refusal.code is Code.NOT_FOUND
    request: Any = ListTablesRequest()
    answer = await service.catalog.ListTables(
        request, metadata=service.metadata("tenant"), timeout=PATIENCE
    )
    assert [table.name for table in answer.tables] == ["events", "narrow", "scannable", "uncached"]
