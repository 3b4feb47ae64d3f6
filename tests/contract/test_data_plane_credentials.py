"""Requests of the data plane are signed with the credentials of their table, as they are now."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from dynamodb_processor_server.dynamodb import credentials as credentials_module
from dynamodb_processor_server.dynamodb.backend import Backend, BackendSettings, RequestTarget
from dynamodb_processor_server.dynamodb.clients import Clients, ClientSettings
from dynamodb_processor_server.errors import BackendRefused
from tests.contract.compared_clients import QUERY, WHOLE, local
from tests.support.dynamodb import REGION
from tests.support.lengths import PATIENCE
from tests.support.raw_http import RawServer, response
from tests.support.reads import CALLER
from tests.unit.dynamodb.aws import ROLE, Aws, give_key, open_aws

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def aws(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Aws]:
    """An AWS without a minimum time between two loads of credentials, which may be slow."""
    monkeypatch.setattr(credentials_module, "_RENEWAL_SECONDS", 0.0)
    monkeypatch.setattr(credentials_module, "_PATIENCE_SECONDS", PATIENCE)
    monkeypatch.setattr(credentials_module, "_STS_CONFIG", {})
    async with open_aws(monkeypatch) as opened:
        yield opened


async def read(clients: Clients, target: RequestTarget, attempts: int = 1) -> None:
    """Send a query through a backend."""

    async def ask(client: Any) -> Any:
        return await client.query(**QUERY)

    backend = Backend(clients, BackendSettings(attempts, PATIENCE), sleep=no_sleep)
    await backend.read(target, ask, math.inf, CALLER)


async def no_sleep(seconds: float) -> None:
    """Return at once."""


async def test_each_table_has_its_region_and_role(aws: Aws) -> None:
    """Both are in the signature, also where tables are read in turn."""
    targets = [
        RequestTarget("events"),
        RequestTarget("events", "us-east-1"),
        RequestTarget("events", None, ROLE),
        RequestTarget("events", "ap-south-1", ROLE),
    ]
    async with Clients(ClientSettings(endpoint_url=aws.url, region="eu-west-1")) as clients:
        for target in targets * 2:
            await read(clients, target)
    expected = [
        ("INSTANCE", "eu-west-1"),
        ("INSTANCE", "us-east-1"),
        ("ROLE", "eu-west-1"),
        ("ROLE", "ap-south-1"),
    ]
    assert aws.asked["dynamodb"] == expected * 2


@pytest.mark.parametrize("role", [None, ROLE], ids=["own", "role"])
async def test_a_read_with_expired_credentials_is_made_again_with_others(
    aws: Aws, monkeypatch: pytest.MonkeyPatch, role: str | None
) -> None:
    """The next attempt of the same read loads them, and so does a role's next request to STS."""
    give_key(monkeypatch, "OLD")
    async with Clients(ClientSettings(endpoint_url=aws.url, region="eu-west-1")) as clients:
        target = RequestTarget("events", None, role)
        await read(clients, target)
        give_key(monkeypatch, "NEW")
        aws.expired = "OLD" if role is None else "ROLE"
        aws.asked["dynamodb"].clear()
        aws.asked["sts"].clear()
        if role is None:
            await read(clients, target, attempts=2)
        else:  # this STS gives the same key each time
            with pytest.raises(BackendRefused, match="ExpiredToken"):
                await read(clients, target, attempts=2)
    first, second = [key for key, _ in aws.asked["dynamodb"]]
    assert (first, second) == (("OLD", "NEW") if role is None else ("ROLE", "ROLE"))
    assert [key for key, _ in aws.asked["sts"]] == ([] if role is None else ["NEW"])


async def test_a_session_token_is_sent_and_signed(
    server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests with credentials that have none send none, though the signer is the same."""
    monkeypatch.setattr(credentials_module, "_RENEWAL_SECONDS", 0.0)
    server.answer = response(WHOLE)
    async with Clients(ClientSettings(endpoint_url=local(server), region=REGION)) as clients:
        for token in ("first+/=", "", "second"):
            monkeypatch.setenv("AWS_SESSION_TOKEN", token)
            await read(clients, RequestTarget("events"))
            clients.renew_credentials()
    sent = [each.headers.get("x-amz-security-token") for each in server.requests]
    assert sent == ["first+/=", None, "second"]
    for request, found in zip(server.requests, sent, strict=True):
        signed = request.headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0]
        assert ("x-amz-security-token" in signed.split(";")) is (found is not None)
