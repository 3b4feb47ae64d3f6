"""Reads that this service sends itself have the results of aioboto3: answers, errors, addresses."""

from __future__ import annotations

import gzip
import math
import ssl
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any, Final

import aioboto3
import orjson
import pytest
import pytest_asyncio
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    NoRegionError,
    ProxyConnectionError,
    ReadTimeoutError,
    SSLError,
)

from dynamodb_processor_server.dynamodb import credentials as credentials_module
from dynamodb_processor_server.dynamodb.backend import Backend, BackendSettings, RequestTarget
from dynamodb_processor_server.dynamodb.clients import Clients, ClientSettings, _config
from dynamodb_processor_server.dynamodb.error_classification import classify
from dynamodb_processor_server.dynamodb.response_parser import CorruptAnswer
from dynamodb_processor_server.errors import BackendUnavailable
from tests.support.certificates import write_certificate
from tests.support.dynamodb import REGION
from tests.support.raw_http import RawServer, Received, open_raw_server, response
from tests.support.reads import CALLER
from tests.unit.dynamodb.aws import forget_credentials

QUERY: Final[dict[str, Any]] = {
    "TableName": "events",
    "KeyConditionExpression": "#k = :k",
    "ExpressionAttributeNames": {"#k": "k"},
    "ExpressionAttributeValues": {
        ":k": {"B": b"\x00\xff"},
        ":l": {"L": [{"BS": [b"a", b"b"]}, {"M": {"ü": {"S": "\ud83d"}}}]},
    },
    "Limit": 7,
}
WHOLE: Final = b'{"Count":1,"ScannedCount":1,"Items":[{"k":{"B":"AQI="}}]}'
REASONS: Final = [{"reason": "TableReadKeyRangeThroughputExceeded", "resource": "arn"}]
KIND: Final = "com.amazonaws.dynamodb.v20120810#"


REQUESTS: Final[dict[str, dict[str, Any]]] = {
    "query": QUERY,
    "scan": {"TableName": "events"},
    "get_item": {"TableName": "events", "Key": {"k": {"S": "a"}}},
    "batch_get_item": {"RequestItems": {"events": {"Keys": [{"k": {"S": "a"}}]}}},
}
pytestmark = pytest.mark.asyncio(loop_scope="session")


@dataclass
class Pair:
    """Our client and a plain one of aioboto3, with the same configuration."""

    ours: Any
    plain: Any

    async def results(self, operation: str, **request: Any) -> tuple[Any, Any]:
        """Return what both answer to a request, or raise."""
        return (
            await _result(getattr(self.ours, operation)(**request)),
            await _result(getattr(self.plain, operation)(**request)),
        )


async def _result(call: Any) -> Any:
    try:
        return await call
    except Exception as error:  # noqa: BLE001 - compared by the test
        return error


@asynccontextmanager
async def open_pair(
    url: str | None, region: str | None = REGION, **settings: Any
) -> AsyncIterator[Pair]:
    """Open both clients for an endpoint."""
    chosen = ClientSettings(endpoint_url=url, region=region, **settings)
    plain = aioboto3.Session().client(
        "dynamodb", region_name=region, endpoint_url=url, config=_config(chosen)
    )
    async with Clients(chosen) as clients, plain as client:
        yield Pair(await clients.client(), client)


@pytest_asyncio.fixture(loop_scope="session")
async def server() -> AsyncIterator[RawServer]:
    """A server without TLS."""
    async with open_raw_server() as opened:
        yield opened


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared() -> AsyncIterator[tuple[RawServer, Pair]]:
    """A server and both clients of it; clients take half a second to open."""
    async with open_raw_server() as opened, open_pair(local(opened)) as clients:
        yield opened, clients


@pytest.fixture
def pair(shared: tuple[RawServer, Pair]) -> Pair:
    """Both clients of the shared server."""
    return shared[1]


@pytest.fixture
def peer(shared: tuple[RawServer, Pair]) -> RawServer:
    """The shared server, which has received nothing yet."""
    shared[0].requests.clear()
    return shared[0]


def local(server: RawServer, scheme: str = "http") -> str:
    """Return the address of a server."""
    return f"{scheme}://127.0.0.1:{server.port}"


def error_body(code: str, **more: Any) -> bytes:
    """Return the body of an error of DynamoDB."""
    return orjson.dumps({"__type": KIND + code, "message": "why", **more})


def _without_attempts(answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer without the remark of botocore's retries that they are at their end."""
    metadata = dict(answer["ResponseMetadata"])
    metadata.pop("MaxAttemptsReached", None)
    return {**answer, "ResponseMetadata": metadata}


async def test_requests_are_those_of_aioboto3(peer: RawServer, pair: Pair) -> None:
    """Both send the same content to the same place with the same names of signed headers."""
    peer.answer = response(WHOLE)
    await pair.results("query", **QUERY)
    ours, plain = peer.requests
    assert ours.line == plain.line
    assert orjson.loads(ours.body.replace(b"\\ud83d", b"?")) == orjson.loads(
        plain.body.replace(b"\\ud83d", b"?")
    )
    for name in ("content-type", "x-amz-target", "host", "accept-encoding", "accept"):
        assert ours.headers[name] == plain.headers[name]
    scope = ours.headers["authorization"].partition("/")[2].partition(",")[0]
    assert scope == plain.headers["authorization"].partition("/")[2].partition(",")[0]


@pytest.mark.parametrize(
    ("status", "code", "more"),
    [
        (400, "ProvisionedThroughputExceededException", {"ThrottlingReasons": REASONS}),
        (400, "ThrottlingException", {"throttlingReasons": REASONS}),
        (400, "RequestLimitExceeded", {"ThrottlingReasons": REASONS}),
        (400, "LimitExceededException", {}),
        (400, "ResourceNotFoundException", {}),
        (400, "ValidationException", {}),
        (400, "AccessDeniedException", {}),
        (400, "ExpiredTokenException", {}),
        (400, "UnrecognizedClientException", {}),
        (400, "MissingAuthenticationTokenException", {}),
        (400, "ItemCollectionSizeLimitExceededException", {}),
        (400, "SomethingNew", {}),
        (413, "RequestEntityTooLarge", {}),
        (500, "InternalServerError", {}),
        (503, "ServiceUnavailable", {}),
    ],
)
async def test_errors_are_those_of_aioboto3(
    peer: RawServer, pair: Pair, status: int, code: str, more: dict[str, Any]
) -> None:
    """Class, code, text, status, headers and modelled members agree."""
    peer.answer = response(
        error_body(code, **more),
        status,
        x_amzn_requestid="ABC",
        x_amz_retry_after="70",
        x_amz_crc32=str(zlib.crc32(error_body(code, **more))),
    )
    ours, plain = await pair.results("query", **QUERY)
    assert isinstance(ours, ClientError)
    assert type(ours).__name__ == type(plain).__name__
    assert isinstance(ours, pair.ours.exceptions.from_code(code))
    # botocore knows one spelling for each error.
    assert ours.response == {**_without_attempts(plain.response), **more}
    assert classify(ours, "events").kind == classify(plain, "events").kind


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, WHOLE),
        (200, b'{"Count":0,"ScannedCount":0,"Items":[]}'),
        (200, b'{"Count":3,"ScannedCount":9,"LastEvaluatedKey":{"k":{"B":""}}}'),
        (200, b'{"ScannedCount":1,"Items":[{"n":{"N":"1e5"},"z":{"NULL":true}}]}'),
        (200, b'{"ScannedCount":1,"ConsumedCapacity":{"TableName":"t","CapacityUnits":0.5}}'),
        (502, b"<html>bad gateway</html>"),
        (503, b""),
        (500, b"  "),
        (403, b"<html>login</html>"),
        (404, b"not found"),
        (302, b"<html>elsewhere</html>"),
        (400, b'{"Message":"spelt so"}'),
        (400, b'{"__type":"a#B:http://more","message":"x"}'),
    ],
)
async def test_whole_answers_are_those_of_aioboto3(
    peer: RawServer, pair: Pair, status: int, body: bytes
) -> None:
    """Answers with and without items, and pages of proxies, have the same form."""
    peer.answer = response(body, status, x_amzn_requestid="ABC", content_type="text/html")
    ours, plain = await pair.results("query", **QUERY)
    if isinstance(plain, ClientError):
        assert type(ours).__name__ == type(plain).__name__
        ours, plain = ours.response, plain.response
    assert ours == _without_attempts(plain)


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("query", b""),
        ("query", WHOLE[:-7]),
        ("scan", b"<html>"),
        ("get_item", b"null"),
        ("batch_get_item", b"[]"),
        ("query", b"{}"),
        ("batch_get_item", b"{}"),
        ("get_item", b'{"Item":{"k":{"B":"A"}}}'),
        ("get_item", b'{"Item":{"k":{"B":7}}}'),
    ],
)
async def test_a_body_that_cannot_be_parsed_is_corrupt(
    peer: RawServer, pair: Pair, operation: str, body: bytes
) -> None:
    """It is not taken for a bug of the server, nor for a response without items."""
    peer.answer = response(body)
    with pytest.raises(CorruptAnswer):
        await getattr(pair.ours, operation)(**REQUESTS[operation])


@pytest.mark.parametrize("status", [200, 400])
async def test_a_checksum_is_of_the_body_as_sent_or_as_it_was(
    peer: RawServer, pair: Pair, status: int
) -> None:
    """DynamoDB's own is of the compressed bytes; a proxy compresses after it was computed."""
    body = WHOLE if status == 200 else error_body("ValidationException")
    packed = gzip.compress(body)
    for sent, stated, encoding in (
        (body, body, "identity"),
        (packed, packed, "gzip"),
        (packed, body, "GZIP"),
    ):
        peer.answer = response(
            sent, status, x_amz_crc32=str(zlib.crc32(stated)), content_encoding=encoding
        )
        answer = await _result(pair.ours.query(**QUERY))
        if status == 200:
            assert answer["Items"] == [{"k": {"B": b"\1\2"}}]
        else:
            assert answer.response["Error"]["Code"] == "ValidationException"
    for sent, encoding in ((body, "identity"), (packed, "gzip"), (packed[:-9], "gzip")):
        peer.answer = response(sent, status, x_amz_crc32="1", content_encoding=encoding)
        assert isinstance(await _result(pair.ours.query(**QUERY)), CorruptAnswer)
    peer.answer = response(body, status, content_encoding="gzip")
    assert isinstance(await _result(pair.ours.query(**QUERY)), CorruptAnswer)


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
    certificate, key = write_certificate(tmp_path)
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


def _refused_until(count: int, theirs: datetime) -> Any:
    body = error_body("InvalidSignatureException")
    refusal = response(body, 400, date=format_datetime(theirs, usegmt=True))
    return lambda requests: refusal if len(requests) <= count else response(WHOLE)


def _time(request: Received) -> datetime:
    return datetime.strptime(request.headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


async def test_a_wrong_clock_is_corrected_once(server: RawServer) -> None:
    """Later requests have the corrected time; one that is refused all the same is not repeated."""
    theirs = datetime.now(UTC) + timedelta(hours=2)
    server.answer = _refused_until(1, theirs)
    async with Clients(ClientSettings(endpoint_url=local(server), region=REGION)) as clients:
        client = await clients.client()
        assert (await client.query(**QUERY))["Count"] == 1
        await client.query(**QUERY)
        first, *later = map(_time, server.requests)
        assert theirs - first > timedelta(hours=1.9)
        assert all(abs(theirs - each) < timedelta(minutes=2) for each in later)
        server.requests.clear()
        server.answer = _refused_until(9, theirs)
        error = await _result(client.query(**QUERY))
    assert error.response["Error"]["Code"] == "InvalidSignatureException"
    assert len(server.requests) == 1


@pytest.mark.parametrize("date", [{}, {"date": "yesterday"}, {"date": "Mon, 99 Jan"}])
async def test_a_refused_signature_without_a_time_is_not_sent_again(
    peer: RawServer, pair: Pair, date: dict[str, str]
) -> None:
    """So is one whose time is right: the reason is another one, such as a wrong secret."""
    peer.answer = response(error_body("InvalidSignatureException"), 400, **date)
    ours, plain = await pair.results("query", **QUERY)
    assert ours.response == _without_attempts(plain.response)
    assert len(peer.requests) == 2


async def _addresses(pair: Pair, **request: Any) -> tuple[str, str]:
    """Return the address and scope of signatures, as we and as botocore resolve them."""
    seen: list[Any] = []

    def stop(request: Any, **_: Any) -> None:
        seen.append(request)
        raise ConnectionRefusedError

    pair.plain.meta.events.register("before-send.dynamodb.*", stop)
    error = await _result(pair.plain.query(**request))
    pair.plain.meta.events.unregister("before-send.dynamodb.*", stop)
    credentials = await pair.ours._credentials.get_frozen_credentials()
    try:
        endpoint = await pair.ours._endpoints.resolve("Query", request, credentials.account_id)
    except Exception as refused:  # noqa: BLE001 - compared by the test
        return repr(refused), repr(error)
    signed = endpoint.signer.headers(credentials, "x", b"", 0.0)["Authorization"]
    theirs = seen[0].headers["Authorization"].decode()
    return (
        f"{endpoint.url} {signed.partition('/')[2].partition(',')[0][8:]}",
        f"{seen[0].url} {theirs.partition('/')[2].partition(',')[0][8:]}",
    )


_DUAL: Final = {"AWS_USE_DUALSTACK_ENDPOINT": "true"}
_FIPS: Final = {"AWS_USE_FIPS_ENDPOINT": "true"}
_PRIVATE: Final = "https://vpce-1.dynamodb.eu-west-1.vpce.amazonaws.com"


@pytest.mark.parametrize(
    ("region", "environment"),
    [
        ("eu-west-1", {}),
        ("us-gov-west-1", _FIPS),
        ("us-gov-west-1", {"AWS_ACCOUNT_ID": "123456789012"}),
        ("cn-north-1", _DUAL),
        ("local", {}),
        ("us-east-1", _DUAL),
        ("us-east-1", _FIPS),
        ("us-east-1", _DUAL | _FIPS),
        ("eu-west-1", {"AWS_ENDPOINT_URL_DYNAMODB": _PRIVATE}),
        ("eu-west-1", {"AWS_ENDPOINT_URL": "http://[::1]:8000/prefix"}),
        ("eu-west-1", {"AWS_ACCOUNT_ID": "123456789012"}),
        (
            "eu-west-1",
            {"AWS_ACCOUNT_ID": "123456789012", "AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled"},
        ),
        ("eu-west-1", {"AWS_ACCOUNT_ID_ENDPOINT_MODE": "required"}),
    ],
    ids=str,
)
async def test_endpoints_are_those_of_botocore(
    monkeypatch: pytest.MonkeyPatch, region: str, environment: dict[str, str]
) -> None:
    """Its rules know accounts, dual-stack, FIPS, private endpoints and tables named by ARN."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    arn = f"arn:aws:dynamodb:{region}:210987654321:table/t"
    async with open_pair(None, region) as pair:
        for table in ("t", arn, "t", arn):  # resolved, and remembered
            ours, plain = await _addresses(pair, TableName=table)
            assert ours == plain


async def test_another_account_has_another_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that are loaded again may be of another account."""
    monkeypatch.setattr(credentials_module, "_RENEWAL_SECONDS", 0.0)
    async with Clients(ClientSettings(region=REGION)) as clients:
        client = await clients.client()
        for account in ("123456789012", "210987654321"):
            monkeypatch.setenv("AWS_ACCOUNT_ID", account)
            clients.renew_credentials()
            async with open_pair(None) as fresh:
                ours, plain = await _addresses(replace(fresh, ours=client), TableName="t")
            assert ours == plain
            assert ours.startswith(f"https://{account}.ddb.")


async def test_no_region_is_the_error_of_botocore(
    server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An endpoint does not replace it: the region is part of every signature."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    with pytest.raises(NoRegionError):
        async with open_pair(local(server), None) as pair:
            await pair.ours.query(**QUERY)
    assert server.requests == []
