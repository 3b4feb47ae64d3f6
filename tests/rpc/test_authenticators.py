"""Tests of the order in which ways to identify a caller are tried, and of their changes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest

from dynamodb_processor.v1.query_service_pb2 import QueryRequest, StreamQueryRequest
from dynamodb_processor_server.auth.principal import Principal
from dynamodb_processor_server.errors import Unauthenticated
from dynamodb_processor_server.rpc.call_context import Call
from dynamodb_processor_server.rpc.interceptors.authentication import Authentication
from tests.rpc.hooked import Context, hooked
from tests.rpc.running_calls import remaining
from tests.support.running import refused

Code = grpc.StatusCode


@dataclass
class Badges:
    """Identifies callers by a header whose values are listed."""

    header: str
    names: dict[str, str]
    version: object = field(default_factory=object)
    missing: str = field(init=False)

    def __post_init__(self) -> None:
        self.missing = f"no {self.header}"

    def authenticate(self, call: Call, now: float) -> Principal | None:
        """Return the principal of a listed value."""
        value = call.metadata_value(self.header)
        if value is None:
            return None
        if value not in self.names:
            raise Unauthenticated(f"the {self.header} is not valid")
        return Principal(value, self.names[value], frozenset(), (), "default")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ((("x-first", "a"),), ""),
        ((("x-second", "b"),), ""),
        ((("x-first", "a"), ("x-second", "wrong")), ""),
        ((("x-first", "wrong"), ("x-second", "b")), "the x-first is not valid"),
        ((("x-second", "wrong"),), "the x-second is not valid"),
        ((), "no x-first; no x-second"),
    ],
)
async def test_the_first_credential_decides(
    metadata: tuple[tuple[str, str], ...], message: str
) -> None:
    """A credential of a later kind is neither needed nor a way around a wrong one."""
    ways = [Badges("x-first", {"a": "anna"}), Badges("x-second", {"b": "bert"})]
    async with hooked(Authentication(ways, lambda: 0.0, True), log=[]) as server:
        call: Any = server.stub.Query(QueryRequest(), metadata=metadata)
        if not message:
            await call
            return
        refusal = await refused(call)
    assert (refusal.code, refusal.message) == (Code.UNAUTHENTICATED, message)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({}, "the x-first is not valid"),
        ({"a": "other"}, "the credential belongs to another principal now"),
        ({"a": "anna"}, ""),
    ],
)
async def test_a_new_version_is_asked_again_during_a_stream(
    names: dict[str, str], message: str
) -> None:
    """A stream ends before its next message if its credential was removed or changed its owner."""
    badges = Badges("x-first", {"a": "anna"})

    async def change(context: Context) -> None:
        badges.names, badges.version = names, object()

    async with hooked(Authentication([badges], lambda: 0.0, True), log=[]) as server:
        server.handlers.act = change
        call: Any = server.stub.StreamQuery(StreamQueryRequest(), metadata=(("x-first", "a"),))
        assert [(await call.read()).sequence for _ in range(2)] == [1, 2]
        messages, refusal = await remaining(call)
    if message:
        assert refusal is not None
        assert (refusal.code, refusal.message) == (Code.UNAUTHENTICATED, message)
    else:
        assert [one.sequence for one in messages] == [3]
