"""Tests of the lines about slow calls: the plan and the cost of a call, without any value."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio

from dynamodb_processor.v1.query_service_pb2 import QueryRequest
from tests.rpc.data import ULRIKE, VIKTOR, events_catalog
from tests.rpc.granting import CRM, get_items, of
from tests.rpc.logged import Logged
from tests.support.lengths import PATIENCE
from tests.support.running import (
    Service,
    eventually,
    make_key,
    open_service,
    query_spec,
    refused,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

_CALL: Final = frozenset({
    "event", "level", "timestamp", "request_id", "method", "principal", "table", "status", "reason",
    "duration_ms", "queue_ms", "backend_ms", "cache", "items", "messages", "read_units",
    "items_scanned", "backend_calls", "throttle_retries",
})  # fmt: skip
_PLAN: Final = frozenset({
    "path", "index", "branches", "key_condition", "filter_expression", "local_filter", "hydrates",
    "consistent", "row_rule",
})  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(
    tmp_path_factory: pytest.TempPathFactory, dynamodb_local: str, events: str
) -> AsyncIterator[Service]:
    """A server to which every call is slow."""
    async with open_service(
        tmp_path_factory.mktemp("service"),
        dynamodb_local,
        events_catalog(events),
        [make_key("reports"), make_key("crm", tables=[CRM])],
        slow_call_threshold=1e-9,
    ) as running:
        yield running


async def line(logged: Logged) -> dict[str, Any]:
    """Return the one line about a slow call since the log was cleared, and clear it."""
    (found,) = await eventually(lambda: logged.of("slow_call"))
    logged.clear()
    return dict(found)


async def test_a_slow_query_has_its_plan_and_its_cost(service: Service, logged: Logged) -> None:
    """The line has the request id and the figures of the access log."""
    spec = query_spec(
        "events", "user_id = :u AND note <> :n AND address.city = 'Lund'",
        parameters={"u": ULRIKE, "n": "some remark"},
    )  # fmt: skip
    logged.secrets |= {"Lund", "some remark", "city"}
    metadata = (*service.metadata(), ("x-request-id", "slow-1"))
    request = QueryRequest(query=spec, page_size=7)
    page = await service.queries.Query(request, metadata=metadata, timeout=PATIENCE)
    access = await eventually(lambda: logged.call("slow-1"))
    found = await line(logged)
    assert found.keys() == _CALL | _PLAN
    assert (found["level"], found["request_id"]) == ("warning", "slow-1")
    for field in ("method", "principal", "table", "status", "cache", "items", "messages"):
        assert found[field] == access[field]
    assert found["duration_ms"] == access["duration_ms"]
    assert found["read_units"] == page.stats.read_units
    assert found["items_scanned"] == page.stats.items_scanned
    assert 0 < found["backend_ms"] < found["duration_ms"]
    assert found["queue_ms"] == 0
    assert (found["path"], found["index"], found["branches"]) == ("TABLE", "@table", 1)
    assert found["key_condition"] == "user_id = ?"
    assert found["filter_expression"] == "note <> ? AND address[…] = ?"


async def test_a_cached_page_has_no_plan(service: Service, logged: Logged) -> None:
    """None was needed to find it."""
    await service.query(of(VIKTOR))
    await line(logged)
    await service.query(of(VIKTOR))
    found = await line(logged)
    assert found.keys() == _CALL
    assert (found["cache"], found["backend_ms"], found["read_units"]) == ("HIT", 0, 0)


async def test_a_slow_stream_has_its_longest_wait(service: Service, logged: Logged) -> None:
    """It is no longer than the call."""
    spec = query_spec("uncached", "user_id = :u", parameters={"u": ULRIKE})
    await service.messages(spec, page_size=100)
    found = await line(logged)
    assert found.keys() == _CALL | _PLAN | {"longest_wait_ms"}
    assert 0 < found["longest_wait_ms"] <= found["duration_ms"]
    assert (found["messages"], found["items"]) == (3, 250)


async def test_other_calls_are_logged_as_well(service: Service, logged: Logged) -> None:
    """A count has its plan; a get by keys, a refusal and an invalidation have none."""
    await service.count(of(ULRIKE))
    found = await line(logged)
    assert found.keys() == _CALL | _PLAN
    await get_items(service, "reports", 1, 2)
    found = await line(logged)
    assert found.keys() == _CALL
    assert (found["items"], found["backend_calls"]) == (2, 1)
    await refused(service.query(query_spec("events", f"note = '{ULRIKE}'")))
    found = await line(logged)
    assert found.keys() == _CALL
    assert (found["status"], found["reason"]) == ("FAILED_PRECONDITION", "SCAN_NOT_ALLOWED")


async def test_a_row_rule_is_not_logged(service: Service, logged: Logged) -> None:
    """The line says that there is one."""
    logged.secrets |= {"system_id", "'crm'"}
    await service.query(of(VIKTOR), key="crm")
    found = await line(logged)
    assert found["row_rule"]
    assert (found["principal"], found["index"]) == ("crm", "by_system")
    assert (found["key_condition"], found["filter_expression"]) == ("", "user_id = ?")


async def test_probes_are_no_slow_calls(service: Service, logged: Logged) -> None:
    """Health is left out, as in the access log."""
    await service.check()
    await service.query(of(VIKTOR))
    assert "Health" not in (await line(logged))["method"]


async def test_no_call_is_slow_where_that_is_off(
    tmp_path: Path, dynamodb_local: str, events: str, logged: Logged
) -> None:
    """A threshold of 0 logs none."""
    catalog = events_catalog(events)
    async with open_service(tmp_path, dynamodb_local, catalog, slow_call_threshold=0) as service:
        await service.messages(of(VIKTOR))
        await eventually(lambda: logged.of("call"))
    assert not logged.of("slow_call")
