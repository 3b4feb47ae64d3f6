"""Credentials: loaded on first use, however late they appear, and replaced when they expire."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from structlog.testing import capture_logs

from dynamodb_processor_server.dynamodb import credentials as module
from dynamodb_processor_server.dynamodb.backend import Backend, BackendSettings, RequestTarget
from dynamodb_processor_server.dynamodb.clients import Clients, ClientSettings
from dynamodb_processor_server.dynamodb.credentials import Credentials, CredentialsFailed
from dynamodb_processor_server.errors import BackendRefused, BackendUnavailable
from dynamodb_processor_server.runtime.circuit_breaker import BreakerSettings, CircuitState
from tests.support.lengths import PATIENCE
from tests.support.reads import CALLER
from tests.support.warped_time import warped
from tests.unit.dynamodb.aws import (
    FAR_FUTURE,
    ROLE,
    Aws,
    Refusal,
    forget_credentials,
    give_key,
    list_tables,
    open_aws,
    take_key,
)


async def key_of(credentials: Credentials) -> str:
    """Return the access key with which requests are signed."""
    return str((await credentials.get_frozen_credentials()).access_key)


def expiring() -> str:
    """Return an expiry so near that botocore renews such credentials on every use."""
    return (datetime.now(UTC) + timedelta(minutes=5)).isoformat()


@warped
async def test_missing_credentials_are_loaded_again() -> None:
    """One load serves all callers, and the next is made a second later."""
    with pytest.MonkeyPatch.context() as patch:
        forget_credentials(patch)
        credentials = Credentials()
        with capture_logs() as logged:
            reads = (key_of(credentials) for _ in range(10))
            for failure in await asyncio.gather(*reads, return_exceptions=True):
                assert isinstance(failure, CredentialsFailed)
        assert [line["event"] for line in logged] == ["credentials_not_found"]
        give_key(patch, "late")
        with pytest.raises(CredentialsFailed):
            await key_of(credentials)
        await asyncio.sleep(1.0)
        assert await key_of(credentials) == "late"


@warped
async def test_expired_credentials_are_loaded_again() -> None:
    """Many calls report the expiry, so the next load is made some seconds later."""
    with pytest.MonkeyPatch.context() as patch:
        give_key(patch, "first")
        credentials = Credentials()
        assert await key_of(credentials) == "first"
        give_key(patch, "second")
        await asyncio.sleep(5.0)
        assert await key_of(credentials) == "first"
        credentials.renew()
        assert await key_of(credentials) == "second"
        give_key(patch, "third")
        credentials.renew()
        assert await key_of(credentials) == "second"
        await asyncio.sleep(5.0)
        credentials.renew()
        assert await key_of(credentials) == "third"


@warped
async def test_credentials_are_kept_while_no_others_are_found() -> None:
    """If their source is unavailable, botocore may still renew the current ones."""
    with pytest.MonkeyPatch.context() as patch:
        give_key(patch, "first")
        credentials = Credentials()
        assert await key_of(credentials) == "first"
        forget_credentials(patch)
        await asyncio.sleep(5.0)
        credentials.renew()
        assert await key_of(credentials) == "first"
        give_key(patch, "second")
        await asyncio.sleep(5.0)
        credentials.renew()
        assert await key_of(credentials) == "second"


@pytest.fixture
async def aws(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Aws]:
    """An AWS without a minimum time between two loads of credentials."""
    monkeypatch.setattr(module, "_FAILURE_SECONDS", 0.0)
    monkeypatch.setattr(module, "_RENEWAL_SECONDS", 0.0)
    async with open_aws(monkeypatch) as opened:
        yield opened


@pytest.fixture
async def clients(aws: Aws) -> AsyncIterator[Clients]:
    """The clients of a server that has just started."""
    async with Clients(ClientSettings(endpoint_url=aws.url, region="eu-west-1")) as opened:
        yield opened


@pytest.mark.parametrize(("role", "key"), [(None, "INSTANCE"), (ROLE, "ROLE")])
async def test_a_server_may_start_before_its_credentials_exist(
    aws: Aws, clients: Clients, role: str | None, key: str
) -> None:
    """Reads fail until the instance metadata service answers, and succeed from then on."""
    backend, target = (
        Backend(clients, BackendSettings(attempts=1)),
        RequestTarget("events", None, role),
    )
    aws.metadata = False
    for _ in range(2):
        with pytest.raises(BackendUnavailable, match="there are no AWS credentials"):
            await backend.call_control_plane(target, list_tables)
    aws.metadata = True
    await backend.call_control_plane(target, list_tables)
    assert aws.asked["dynamodb"] == [(key, "eu-west-1")]


async def test_expired_credentials_are_not_renewed_any_more(
    aws: Aws, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Botocore would renew old credentials forever: each endpoint that it resolves uses them."""
    give_key(monkeypatch, "OLD")
    aws.expiration = expiring()
    client = await clients.client(None, ROLE)
    await client.list_tables()
    give_key(monkeypatch, "NEW")
    aws.expiration = FAR_FUTURE
    clients.renew_credentials(None, ROLE)
    aws.asked["sts"].clear()
    await client.list_tables()
    assert [key for key, _ in aws.asked["sts"]] == ["NEW"]


_BREAKER: Final = BreakerSettings(minimum_calls=1)
_ONCE: Final = BackendSettings(attempts=1, attempt_timeout=PATIENCE, breaker=_BREAKER)


def assume_web_identity(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let botocore find a role that is assumed with a token, as on Kubernetes."""
    token = folder / "token"
    token.write_text("token")
    patch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    patch.setenv("AWS_ROLE_ARN", ROLE)


@pytest.mark.parametrize("role", [None, ROLE], ids=["web identity", "role"])
@pytest.mark.parametrize("began", [False, True], ids=["at first", "later"])
@pytest.mark.parametrize(
    ("refusal", "expiration"),
    [(Refusal("Throttling"), ""), (Refusal("Internal", 503), ""), (None, "2001-01-01T00:00:00Z")],
    ids=["throttled", "failed", "expired"],
)
async def test_a_failure_of_sts_is_not_blamed_on_the_table(
    aws: Aws,
    clients: Clients,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    role: str | None,
    began: bool,
    refusal: Refusal | None,
    expiration: str,
) -> None:
    """The table's breaker stays closed, and a call succeeds when STS answers again."""
    if role is None:
        assume_web_identity(monkeypatch, tmp_path)
    backend, target = Backend(clients, _ONCE), RequestTarget("events", None, role)
    aws.expiration = expiring()
    if began:
        await backend.read(target, list_tables, math.inf, CALLER)
    aws.refusal, aws.expiration = refusal, expiration
    with pytest.raises(BackendUnavailable, match="there are no AWS credentials"):
        await backend.read(target, list_tables, math.inf, CALLER)
    aws.refusal, aws.expiration = None, FAR_FUTURE
    await backend.read(target, list_tables, math.inf, CALLER)
    assert list(backend.breakers.states()) == [("events", "", CircuitState.CLOSED)]


async def test_one_request_to_sts_serves_all_waiting_callers(
    aws: Aws, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten failing reads make one request; later calls make another."""
    monkeypatch.setattr(module, "_FAILURE_SECONDS", 60.0)
    aws.refusal = Refusal("Internal", 503)
    backend, target = Backend(clients, _ONCE), RequestTarget("events", None, ROLE)
    reads = (backend.read(target, list_tables, math.inf, CALLER) for _ in range(10))
    failures = await asyncio.gather(*reads, return_exceptions=True)
    assert [type(failure) for failure in failures] == [BackendUnavailable] * 10
    assert len(aws.asked["sts"]) == 1


async def test_a_role_that_may_not_be_assumed_is_refused(aws: Aws, clients: Clients) -> None:
    """Retries cannot help the caller; the log gives the operator the reason."""
    aws.refusal = Refusal("AccessDenied", 403)
    with pytest.raises(BackendRefused, match="AccessDenied while reading events: why"):
        await Backend(clients, _ONCE).read(
            RequestTarget("events", None, ROLE), list_tables, math.inf, CALLER
        )


@pytest.mark.parametrize("hung", [False, True])
async def test_a_renewal_that_fails_is_a_failure_of_the_attempt(
    aws: Aws, clients: Clients, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, hung: bool
) -> None:
    """It ends within the attempt's timeout, and the next call may succeed."""
    give_key(monkeypatch, "OLD")
    await list_tables(await clients.client())
    aws.expired = "OLD"
    take_key(monkeypatch)
    if hung:
        aws.gate.clear()
        monkeypatch.setenv("AWS_METADATA_SERVICE_TIMEOUT", "60")
    else:
        config = tmp_path / "config"
        config.write_text("[default]\ncredential_process = false\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    backend = Backend(clients, BackendSettings(attempts=2, attempt_timeout=2.0))
    with pytest.raises(BackendUnavailable):
        await backend.call_control_plane(RequestTarget("events"), list_tables)
    give_key(monkeypatch, "NEW")
    await backend.call_control_plane(RequestTarget("events"), list_tables)


@pytest.mark.parametrize(
    ("own", "asked"), [("us-east-1", "us-east-1"), (None, "eu-west-1")], ids=str
)
async def test_a_role_is_assumed_in_the_region_of_aws_sources_or_settings(
    aws: Aws, clients: Clients, monkeypatch: pytest.MonkeyPatch, own: str | None, asked: str
) -> None:
    """The region of the settings applies if AWS's sources name none."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    if own is not None:
        monkeypatch.setenv("AWS_DEFAULT_REGION", own)
    await (await clients.client(None, ROLE)).list_tables()
    assert aws.asked["sts"] == [("INSTANCE", asked)]
    assert aws.asked["dynamodb"] == [("ROLE", "eu-west-1")]
