"""Tests of the audit log: one line for each call of a method that needs the role admin."""

from __future__ import annotations

from typing import Any, Final

import grpc
import pytest

from dynamodb_processor.v1 import cache_service_pb2
from dynamodb_processor.v1.cache_service_pb2 import GetCacheStatsRequest, InvalidateCacheRequest
from dynamodb_processor_server.wiring.hooks import _ROLES
from tests.rpc.data import VIKTOR
from tests.rpc.granting import of
from tests.rpc.logged import Logged
from tests.support.lengths import PATIENCE
from tests.support.running import Service, eventually, make_key, refused

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEYS: Final = [
    make_key("operator", principal="ops", roles=["admin", "reader"]),
    make_key("part", tables=["narrow"], roles=["admin"]),
    make_key("reports"),
]
_SERVICE: Final = cache_service_pb2.DESCRIPTOR.services_by_name["CacheService"]


async def line(logged: Logged) -> dict[str, Any]:
    """Return the one line of the audit log since the log was cleared, and clear it."""
    (found,) = await eventually(lambda: logged.of("admin_call"))
    logged.clear()
    assert found["logger"] == "audit"
    return dict(found)


async def test_an_invalidation_is_audited(service: Service, logged: Logged) -> None:
    """The line has the caller, the table, the scope and the outcome, and no key of an item."""
    await service.invalidate("events", user_id=VIKTOR)
    found = await line(logged)
    assert found.pop("request_id")
    assert found.pop("peer").startswith("ipv4:127.0.0.1:")
    assert found.pop("timestamp")
    assert found == {
        "event": "admin_call",
        "logger": "audit",
        "level": "info",
        "method": "/dynamodb_processor.v1.CacheService/InvalidateCache",
        "principal": "ops",
        "key_id": "operator",
        "table": "events",
        "scope": "partition_key",
        "status": "OK",
        "reason": "",
    }
    await service.invalidate("events")
    assert (await line(logged))["scope"] == "whole_table"


async def test_statistics_are_audited(service: Service, logged: Logged) -> None:
    """They concern no single table."""
    metadata = (*service.metadata(), ("x-request-id", "audit-1"))
    await service.cache.GetCacheStats(GetCacheStatsRequest(), metadata=metadata, timeout=PATIENCE)
    found = await line(logged)
    assert (found["request_id"], found["table"], found["status"]) == ("audit-1", "", "OK")
    assert "scope" not in found


@pytest.mark.parametrize(
    ("key", "status", "reason", "table"),
    [
        ("reports", "PERMISSION_DENIED", "PERMISSION_DENIED", ""),
        ("part", "PERMISSION_DENIED", "PERMISSION_DENIED", "events"),
        ("nobody", "UNAUTHENTICATED", "UNAUTHENTICATED", ""),
    ],
    ids=["no role", "no grant", "no key"],
)
async def test_refused_attempts_are_audited(
    service: Service, logged: Logged, key: str, status: str, reason: str, table: str
) -> None:
    """The principal is named where it is known; its arguments, if it may use the method."""
    service.keys["nobody"] = make_key("nobody")
    await refused(service.invalidate("events", key=key))
    found = await line(logged)
    assert (found["status"], found["reason"], found["table"]) == (status, reason, table)
    assert found["principal"] == ("" if key == "nobody" else key)
    assert ("scope" in found) == bool(table)


async def test_an_invalid_call_is_audited(service: Service, logged: Logged) -> None:
    """A request without a scope has an empty one."""
    request = InvalidateCacheRequest(table="events")
    metadata = service.metadata()
    await refused(service.cache.InvalidateCache(request, metadata=metadata, timeout=PATIENCE))
    found = await line(logged)
    assert (found["status"], found["scope"]) == ("INVALID_ARGUMENT", "")


async def test_every_method_that_needs_the_role_is_audited(
    service: Service, logged: Logged
) -> None:
    """The methods are those of the contract, so that a new one cannot be forgotten."""
    assert [name for name, role in _ROLES.items() if role == "admin"] == [_SERVICE.full_name]
    for method in _SERVICE.methods:
        path = f"/{_SERVICE.full_name}/{method.name}"
        call: Any = service.channel.unary_unary(path)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(b"", metadata=service.metadata("reports"), timeout=PATIENCE)
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert (await line(logged))["method"] == path


async def test_reads_are_not_audited(service: Service, logged: Logged) -> None:
    """An administrator's queries are calls as any other's."""
    await service.query(of(VIKTOR))
    await eventually(lambda: logged.of("call"))
    assert not logged.of("admin_call")
