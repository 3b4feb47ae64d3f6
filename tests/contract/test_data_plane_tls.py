"""TLS of requests to AWS: a certificate is trusted, and names the host that was asked for."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from botocore.exceptions import SSLError

from dynamodb_processor_server.dynamodb.backend import Backend, BackendSettings, RequestTarget
from dynamodb_processor_server.dynamodb.clients import Clients, ClientSettings
from dynamodb_processor_server.dynamodb.credentials import CredentialsFailed
from dynamodb_processor_server.dynamodb.remedies import remedy_for
from dynamodb_processor_server.dynamodb.streams import STREAMS
from dynamodb_processor_server.errors import BackendUnavailable
from dynamodb_processor_server.telemetry.cloudwatch.publisher import NotSent
from dynamodb_processor_server.telemetry.cloudwatch.put_metric_data import PutMetricData
from dynamodb_processor_server.telemetry.cloudwatch.sampler import Datum
from tests.contract.compared_clients import QUERY, WHOLE, result_of
from tests.support.certificates import issue
from tests.support.dynamodb import REGION
from tests.support.raw_http import RawServer, open_raw_server, response
from tests.support.tunnel import open_tunnel
from tests.unit.dynamodb.aws import ROLE

pytestmark = pytest.mark.asyncio(loop_scope="session")

HOST: Final = "dynamodb.invalid"
OTHER: Final = "other.invalid"


@asynccontextmanager
async def https_server(folder: Path, *names: str) -> AsyncIterator[RawServer]:
    """Run a server whose certificate, in the file `certificate.pem`, has these names."""
    certificate, key = issue(*names).write(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    async with open_raw_server(context) as server:
        server.answer = response(WHOLE)
        yield server


def trust(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Trust the certificate of `https_server`."""
    monkeypatch.setenv("AWS_CA_BUNDLE", str(folder / "certificate.pem"))


async def answer_of(url: str) -> Any:
    """Return the answer to a query, or the exception that it raised."""
    async with Clients(ClientSettings(endpoint_url=url, region=REGION)) as clients:
        return await result_of((await clients.client()).query(**QUERY))


@pytest.mark.parametrize("names", [(OTHER,), ("127.0.0.2", "localhost")], ids=str)
async def test_a_certificate_names_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    """A trusted certificate of another host or address is refused before anything is sent."""
    async with https_server(tmp_path, *names) as server:
        trust(monkeypatch, tmp_path)
        assert isinstance(await answer_of(f"https://127.0.0.1:{server.port}"), SSLError)
    assert server.requests == []


@pytest.mark.parametrize(
    ("name", "is_known"), [(HOST, True), (OTHER, True), (HOST, False)], ids=str
)
async def test_a_certificate_is_checked_behind_a_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, is_known: bool
) -> None:
    """A proxy tunnels connections; it gets its password, and the host behind it does not."""
    async with https_server(tmp_path, name) as server, open_tunnel(server.port) as tunnel:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:word@127.0.0.1:{tunnel.port}")
        if is_known:
            trust(monkeypatch, tmp_path)
        answer = await answer_of(f"https://{HOST}")
    assert tunnel.heads[0].startswith(f"CONNECT {HOST}:443 HTTP/1.1\r\n")
    assert "\r\nProxy-Authorization: Basic " in tunnel.heads[0]
    if is_known and name == HOST:
        assert answer["Count"] == 1
        assert "proxy-authorization" not in server.requests[0].headers
    else:
        assert isinstance(answer, SSLError)
        assert server.requests == []


async def test_a_proxy_with_tls_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its password is not sent to a host that cannot show that it is the proxy."""
    async with https_server(tmp_path, OTHER) as server:
        monkeypatch.setenv("HTTPS_PROXY", f"https://user:word@127.0.0.1:{server.port}")
        trust(monkeypatch, tmp_path)
        assert isinstance(await answer_of(f"https://{HOST}"), Exception)
    assert server.requests == []


@pytest.mark.parametrize("role", [ROLE, None], ids=["role", "web identity"])
async def test_sts_is_checked_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, role: str | None
) -> None:
    """The token of a web identity, or a request for a role, goes to no other host."""
    async with https_server(tmp_path, OTHER) as server:
        trust(monkeypatch, tmp_path)
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"https://127.0.0.1:{server.port}")
        if role is None:
            token = tmp_path / "token"
            token.write_text("token")
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                monkeypatch.delenv(name)
            monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
            monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
        settings = ClientSettings(endpoint_url="http://127.0.0.1:1", region=REGION)
        async with Clients(settings) as clients:
            client = await clients.client(None, role)
            failure = await result_of(client.query(**QUERY))
    assert isinstance(failure, CredentialsFailed)
    assert isinstance(failure.__cause__, SSLError)
    assert server.requests == []


async def test_requests_of_aioboto3_are_checked_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are those about tables and streams, and those to CloudWatch."""
    async with https_server(tmp_path, OTHER) as server:
        trust(monkeypatch, tmp_path)
        url = f"https://127.0.0.1:{server.port}"
        settings = ClientSettings(endpoint_url=url, region=REGION)
        async with Clients(settings) as tables, Clients(settings, STREAMS) as streams:
            for call in (
                (await tables.client()).describe_table(TableName="events"),
                (await streams.client()).list_streams(),
            ):
                assert isinstance(await result_of(call), SSLError)
        monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", url)
        sender = PutMetricData(REGION)
        with pytest.raises(NotSent, match="certificate verify failed"):
            await sender.send([Datum("calls", "Count", (), (1.0,), (1,))])
        await sender.close()
    assert server.requests == []


async def test_an_operator_reads_why_a_certificate_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason is OpenSSL's: the number of its errors is that of another error of the system."""
    async with https_server(tmp_path, OTHER) as server:
        settings = ClientSettings(endpoint_url=f"https://127.0.0.1:{server.port}", region=REGION)
        assert (
            await _remedy(settings) == f"TLS to the endpoint failed, self-signed certificate: {TLS}"
        )
        trust(monkeypatch, tmp_path)
        reason = "IP address mismatch, certificate is not valid for '127.0.0.1'"
        assert await _remedy(settings) == f"TLS to the endpoint failed, {reason}: {TLS}"
        monkeypatch.setenv("AWS_CA_BUNDLE", "/nonexistent")
        assert await _remedy(settings) == f"a file of certificates does not exist: {TLS}"


TLS: Final = (
    "check --endpoint-url, and AWS_CA_BUNDLE if a proxy or an endpoint of your own has a "
    "certificate of your own"
)


async def _remedy(settings: ClientSettings) -> str:
    """Return what `dynamodb-processor config` says of a table that cannot be described."""

    async def describe(client: Any) -> Any:
        return await client.describe_table(TableName="events")

    async with Clients(settings) as clients:
        backend = Backend(clients, BackendSettings(attempts=1))
        with pytest.raises(BackendUnavailable) as raised:
            await backend.call_control_plane(RequestTarget("events"), describe)
    return remedy_for(raised.value)
