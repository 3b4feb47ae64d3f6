"""Connections of the data plane: proxies, TLS, cut answers and damaged ones."""

from __future__ import annotations

import math
import ssl
from pathlib import Path
from typing import Any, Final

import pytest
from botocore.exceptions import (
    ConnectionClosedError,
    EndpointConnectionError,
    ProxyConnectionError,
    ReadTimeoutError,
    SSLError,
)

from dynamodb_processor_server.dynamodb.backend import Backend, BackendSettings, RequestTarget
from dynamodb_processor_server.dynamodb.clients import Clients, ClientSettings
from dynamodb_processor_server.dynamodb.error_classification import classify
from dynamodb_processor_server.errors import BackendUnavailable
from tests.contract.compared_clients import QUERY, WHOLE, local, open_pair
from tests.support.certificates import issue
from tests.support.dynamodb import REGION
from tests.support.raw_http import RawServer, open_raw_server, response
from tests.support.reads import CALLER
from tests.unit.dynamodb.aws import forget_credentials

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_failed_connections_raise_the_exceptions_of_aioboto3(server: RawServer) -> None:
    """They differ for a closed connection, a cut answer, one that is no HTTP, and none at all."""
    async with open_pair(local(server)) as pair:
        for answer, kind in (
            (b"", ConnectionClosedError),
            (response(WHOLE)[:-5], ConnectionClosedError),
            (b"HTTP/1.1 200 OK\r\n", ConnectionClosedError),
        ):
            server.answer = answer
            ours, plain = await pair.results("query", **QUERY)
            assert isinstance(ours, kind)
            assert type(ours) is type(plain)
        server.answer = b"SSH-2.0-OpenSSH\r\n\r\n"
        ours, plain = await pair.results("query", **QUERY)
        assert type(ours) is type(plain)
        assert classify(ours, "events").kind == "unreachable"
    async with open_pair("http://127.0.0.1:1") as pair:
        ours, plain = await pair.results("query", **QUERY)
        assert type(ours) is type(plain) is EndpointConnectionError
        assert str(ours) == str(plain).replace("1:1", "1:1/").replace('//"', '/"')


async def test_an_answer_that_does_not_come_is_a_timeout(server: RawServer) -> None:
    """The timeout of the settings counts for each read of the socket."""
    server.answer = lambda _: b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"
    async with open_pair(local(server), read_timeout=1e-9) as pair:
        ours, plain = await pair.results("query", **QUERY)
    assert type(ours) is type(plain) is ReadTimeoutError


async def test_a_certificate_is_checked_against_the_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`AWS_CA_BUNDLE` names it; any other certificate is refused."""
    certificate, key = issue().write(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    async with open_raw_server(context) as server:
        server.answer = response(WHOLE)
        async with open_pair(local(server, "https")) as pair:
            ours, plain = await pair.results("query", **QUERY)
            assert type(ours) is type(plain) is SSLError
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
        async with open_pair(local(server, "https")) as pair:
            for answer in await pair.results("query", **QUERY):
                assert answer["Count"] == 1


async def test_proxies_are_those_of_the_environment(
    server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`HTTP_PROXY` gets the requests, `NO_PROXY` excepts hosts, with user and password or not."""
    monkeypatch.setenv("HTTP_PROXY", f"http://user:word@127.0.0.1:{server.port}")
    server.answer = response(WHOLE)
    async with open_pair("http://dynamodb.invalid") as pair:
        for answer in await pair.results("query", **QUERY):
            assert answer["Count"] == 1
    assert [each.line for each in server.requests] == ["POST http://dynamodb.invalid/ HTTP/1.1"] * 2
    first, second = (each.headers.get("proxy-authorization") for each in server.requests)
    assert first == second is not None
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    async with open_pair(local(server)) as pair:
        await pair.results("query", **QUERY)
    assert [each.line for each in server.requests[2:]] == ["POST / HTTP/1.1"] * 2


async def test_a_proxy_that_answers_with_a_page_is_unreachable(
    server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`HTTPS_PROXY` is asked for a tunnel, and nothing is sent past it."""
    monkeypatch.setenv("HTTPS_PROXY", local(server))
    server.answer = response(b"<html>login</html>", 407)
    async with open_pair("https://dynamodb.invalid") as pair:
        ours, plain = await pair.results("query", **QUERY)
    assert type(ours) is type(plain) is ProxyConnectionError
    assert classify(ours, "events").kind == "unreachable"
    assert {each.line for each in server.requests} == {"CONNECT dynamodb.invalid:443 HTTP/1.1"}
    monkeypatch.setenv("HTTPS_PROXY", "http://user:word@127.0.0.1:1")
    async with open_pair("https://dynamodb.invalid") as pair:
        ours, plain = await pair.results("query", **QUERY)
    assert type(ours) is type(plain) is ProxyConnectionError
    assert "word" not in str(ours)


BAD_INPUT: Final = {
    "cut": (response(WHOLE)[:-5], "cannot be reached", "unreachable"),
    "no JSON": (response(b"{'Items'"), "cannot be read", "corrupt"),
    "HTML": (response(b"<html>hello</html>"), "cannot be read", "corrupt"),
    "HTML 502": (response(b"<html>hello</html>", 502), "cannot be read", "failed"),
    "HTML 403": (response(b"<html>hello</html>", 403), "cannot be read", "corrupt"),
    "checksum": (response(WHOLE, x_amz_crc32="1"), "cannot be read", "corrupt"),
}


@pytest.mark.parametrize("row", BAD_INPUT)
async def test_bad_answers_are_retried_within_the_budget(server: RawServer, row: str) -> None:
    """The caller gets the usual error after the attempts of the settings, and no page."""
    server.answer, words, kind = BAD_INPUT[row]
    settings = ClientSettings(endpoint_url=local(server), region=REGION)
    async with Clients(settings) as clients:
        backend = Backend(clients, BackendSettings(attempts=3), sleep=no_sleep)
        with pytest.raises(BackendUnavailable, match=words):
            await read(backend)
    ((_, stats),) = backend.tables()
    assert dict(stats.outcomes) == {kind: 3}
    assert len(server.requests) == 3


async def test_tls_failures_and_absent_servers_are_unreachable() -> None:
    """They are retried as well, within the attempts of the settings."""
    async with open_raw_server() as server:
        for url in (local(server, "https"), "http://127.0.0.1:1"):
            async with Clients(ClientSettings(endpoint_url=url, region=REGION)) as clients:
                backend = Backend(clients, BackendSettings(attempts=2), sleep=no_sleep)
                with pytest.raises(BackendUnavailable, match="cannot be reached"):
                    await read(backend)
            ((_, stats),) = backend.tables()
            assert dict(stats.outcomes) == {"unreachable": 2}
    assert server.requests == []


async def test_nothing_is_sent_without_credentials(
    server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is that of missing credentials."""
    forget_credentials(monkeypatch)
    settings = ClientSettings(endpoint_url=local(server), region=REGION)
    async with Clients(settings) as clients:
        backend = Backend(clients, BackendSettings(attempts=2), sleep=no_sleep)
        with pytest.raises(BackendUnavailable, match="there are no AWS credentials"):
            await read(backend)
    assert server.requests == []


async def no_sleep(seconds: float) -> None:
    """Return at once."""


async def read(backend: Backend) -> Any:
    """Send a query through a backend."""

    async def ask(client: Any) -> Any:
        return await client.query(**QUERY)

    return await backend.read(RequestTarget("events"), ask, math.inf, CALLER)
