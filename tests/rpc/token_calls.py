"""Roles and tokens of an issuer, and calls with them."""

from __future__ import annotations

from typing import Any, Final

import grpc

from dynamodb_processor.v1.query_pb2 import QuerySpec
from dynamodb_processor.v1.query_service_pb2 import QueryResponse
from tests.rpc.data import ULRIKE
from tests.rpc.granting import of
from tests.support.running import Refusal, Service, refused
from tests.support.tokens import SigningKey, Token

KEY: Final = SigningKey()
ROLES: Final = {
    "tenant": {"tables": [{"table": "events", "rule": "system_id = ${claims.tenant}"}]},
    "since": {"tables": [{"table": "events", "rule": "at > ${claims.since}"}]},
    "all": {"tables": ["*"], "methods": ["reader", "admin"]},
}


async def read(
    service: Service, token: str, spec: QuerySpec | None = None, **fields: Any
) -> QueryResponse:
    """Return the first page of a query, by default of a user's events."""
    service.keys["token"] = Token(token, {})
    return await service.query(spec or of(ULRIKE), key="token", **fields)


async def refusal_of(service: Service, token: str) -> Refusal:
    """Return the refusal of a token, which must be UNAUTHENTICATED."""
    refusal = await refused(read(service, token))
    assert refusal.code is grpc.StatusCode.UNAUTHENTICATED
    return refusal
