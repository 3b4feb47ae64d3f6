"""Requests over pooled connections: one connection serves many, and none after a failure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace

import pytest
from aiohttp import (
    ClientConnectionError,
    ClientPayloadError,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    ServerDisconnectedError,
    SocketTimeoutError,
    StreamReader,
    TCPConnector,
)
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from dynamodb_processor_server.dynamodb.http_post import (
    Destination,
    ResponseHead,
    header_line,
    post,
)
from tests.support.running import eventually

OK = b"HTTP/1.1 200 OK\r\nX-One: 1\r\ncontent-length: 5\r\n\r\nhello"


@dataclass
class Server:
    """Answers each request with the next of `answers`, the last of them again and again.

    An empty answer closes the connection, as does every answer if it `closes`; None is no answer.
    `connections` counts those that were made, `heads` and `bodies` are what was received, and
    `writers` are those of all connections.
    """

    answers: list[bytes | None]
    closes: bool = False
    connections: int = 0
    heads: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    received: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        self.connections += 1
        self.writers.append(writer)
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                lines = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
                self.heads.append(head)
                self.received.set()
                self.bodies.append(await reader.readexactly(int(lines["Content-Length"])))
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if answer == b"":
                    break
                writer.write(answer or b"")
                if self.closes:
                    break
        writer.close()


@dataclass
class Ground:
    """A server, and a session with a destination there."""

    server: Server
    session: ClientSession
    destination: Destination

    async def post(self, body: bytes = b"{}") -> tuple[ResponseHead, bytes]:
        """Send a request, and return head and body of the response."""
        headers = header_line("X-Two", "2")
        return await post(self.session, self.destination, headers, body, whole)

    @property
    def idle(self) -> list[ResponseHandler]:
        """The connections in the pool; there is none that a request has not given back."""
        connector = self.session.connector
        assert connector is not None
        assert not connector._acquired
        return [protocol for pooled in connector._conns.values() for protocol, _ in pooled]


async def whole(head: ResponseHead, reader: StreamReader) -> tuple[ResponseHead, bytes]:
    """Return head and body of a response."""
    return head, await reader.read()


@asynccontextmanager
async def ground(*answers: bytes | None, read: float = 30.0) -> AsyncIterator[Ground]:
    """Open a server, and a session with two connections at most."""
    server = Server(list(answers))
    listening = await asyncio.start_server(server.handle, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    timeout = ClientTimeout(sock_connect=30.0, sock_read=read)
    async with (
        listening,
        ClientSession(connector=TCPConnector(limit=2), timeout=timeout) as session,
    ):
        url = URL(f"http://127.0.0.1:{server.port}/")
        yield Ground(server, session, Destination(url, f"127.0.0.1:{server.port}", None))


async def test_requests_share_a_connection() -> None:
    """Everything arrives as it was given, and the connection goes back to the pool."""
    async with ground(OK) as one:
        for body in (b"{}", b"", b"x" * 3_000_000):
            head, received = await one.post(body)
            assert head == ResponseHead(200, {"x-one": "1", "content-length": "5"})
            assert received == b"hello"
        assert one.server.connections == 1
        assert [protocol._read_timeout_handle for protocol in one.idle] == [None]
        assert one.server.bodies == [b"{}", b"", b"x" * 3_000_000]
        assert one.server.heads[0] == (
            f"POST / HTTP/1.1\r\nHost: 127.0.0.1:{one.server.port}\r\nX-Two: 2\r\n"
            "Content-Length: 2\r\n\r\n"
        )


async def test_requests_at_the_same_time_have_connections_of_their_own() -> None:
    """There are no more of them than the session allows; further requests wait for one."""
    async with ground(OK) as one:
        await asyncio.gather(*(one.post() for _ in range(7)))
        assert one.server.connections == 2


async def test_informational_responses_are_passed_over() -> None:
    """The response is the first one that is final."""
    async with ground(b"HTTP/1.1 100 Continue\r\n\r\n" + OK) as one:
        assert (await one.post())[1] == b"hello"


async def test_a_connection_that_the_server_will_close_is_not_used_again() -> None:
    """Its response says so, and the next request gets a new connection."""
    closing = OK.replace(b"X-One: 1", b"connection: close")
    async with ground(closing, OK) as one:
        assert (await one.post())[1] == b"hello"
        assert (await one.post())[1] == b"hello"
        assert one.server.connections == 2


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "body", "connections"),
    [
        (CHUNKED + b"2\r\nhe\r\n3;a=b\r\nllo\r\n0\r\nx-sum: 1\r\n\r\n", b"hello", 1),
        (OK.replace(b"1.1", b"1.0"), b"hello", 2),
        (OK.replace(b"1.1", b"1.0").replace(b"X-One: 1", b"connection: keep-alive"), b"hello", 1),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b"", 1),
        (CHUNKED + b"0\r\n\r\n", b"", 1),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", 1),
    ],
    ids=["chunks and a trailer", "HTTP/1.0", "kept by HTTP/1.0", "empty", "no chunk", "no content"],
)
async def test_every_framing_is_understood(answer: bytes, body: bytes, connections: int) -> None:
    """The connection is used again where HTTP allows it, without a timer that is still running."""
    async with ground(answer) as one:
        for _ in range(2):
            assert (await one.post())[1] == body
        assert one.server.connections == connections
        assert all(protocol._read_timeout_handle is None for protocol in one.idle)


async def test_a_response_without_a_length_ends_with_its_connection() -> None:
    """Whether it is whole is for its reader to find out."""
    async with ground(b"HTTP/1.1 200 OK\r\n\r\nhello") as one:
        one.server.closes = True
        for _ in range(2):
            assert (await one.post())[1] == b"hello"
        assert one.server.connections == 2


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (OK[:-1], ClientPayloadError),
        (OK[:20], ServerDisconnectedError),
        (CHUNKED + b"5\r\nhel", ClientPayloadError),
        (CHUNKED + b"5\r\nhello\r\n", ClientPayloadError),
        (CHUNKED + b"5\r\nhello\r\n0\r\n", ClientPayloadError),
    ],
    ids=["body", "head", "chunk", "last chunk", "trailer"],
)
async def test_a_response_that_ends_early_is_an_error(answer: bytes, kind: type[Exception]) -> None:
    """It is never taken for a whole one, wherever the server closes the connection."""
    async with ground(answer) as one:
        one.server.closes = True
        with pytest.raises(kind):
            await one.post()
        assert one.idle == []


async def test_a_connection_that_was_closed_while_idle_is_not_used() -> None:
    """The next request gets a new connection, and does not fail."""
    async with ground(OK) as one:
        await one.post()
        (protocol,) = one.idle
        one.server.writers[0].close()
        await eventually(lambda: not protocol.is_connected())
        assert (await one.post())[1] == b"hello"
        assert one.server.connections == 2


async def test_a_response_without_a_request_is_not_that_of_the_next_one() -> None:
    """Bytes that come over an idle connection fail the next request, which can be made again."""
    async with ground(OK) as one:
        await one.post()
        (protocol,) = one.idle
        one.server.writers[0].write(OK.replace(b"hello", b"other"))
        await eventually(lambda: protocol.should_close)
        with pytest.raises(ClientConnectionError, match="without a request"):
            await one.post()
        assert (await one.post())[1] == b"hello"
        assert len(one.server.heads) == one.server.connections == 2


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", ServerDisconnectedError),
        (None, SocketTimeoutError),
        (OK[:-1], SocketTimeoutError),
        (OK + b"more than was announced", HttpProcessingError),
        (OK + OK[:-1], None),
        (b"SSH-2.0-OpenSSH\r\n\r\n", HttpProcessingError),
        (OK.replace(b"X-One: 1", b"X-One: " + b"1" * 10_000), HttpProcessingError),
        (OK.replace(b"X-One: 1", b"content-length: 4"), HttpProcessingError),
    ],
    ids=["closed", "silent", "cut", "too long", "two", "no HTTP", "long header", "two lengths"],
)
async def test_a_failed_connection_is_not_used_again(
    answer: bytes | None, kind: type[Exception] | None
) -> None:
    """The error is aiohttp's, and the next request gets a new connection."""
    async with ground(answer, OK, read=0.2) as one:
        with nullcontext() if kind is None else pytest.raises(kind):
            await one.post()
        assert one.idle == []
        assert (await one.post())[1] == b"hello"
        assert one.server.connections == 2


@pytest.mark.parametrize("answer", [None, OK[:-1], OK[:20]], ids=["none", "body", "head"])
async def test_a_cancelled_request_closes_its_connection(answer: bytes | None) -> None:
    """Its response, or the rest of it, must not become that of the next request."""
    async with ground(answer, OK) as one:
        request = asyncio.create_task(one.post())
        await one.server.received.wait()
        await asyncio.sleep(0)
        request.cancel()
        await asyncio.wait((request,))
        assert one.idle == []
        assert (await one.post())[1] == b"hello"
        assert one.server.connections == 2


async def test_a_response_that_is_refused_closes_its_connection() -> None:
    """`receive` may fail before it has read everything."""

    async def refuse(head: ResponseHead, reader: StreamReader) -> None:
        raise ValueError(head.status)

    async with ground(OK) as one:
        with pytest.raises(ValueError, match="200"):
            await post(one.session, one.destination, "", b"", refuse)
        assert (await one.post())[1] == b"hello"
        assert one.server.connections == 2


async def test_a_closed_session_sends_nothing() -> None:
    """The error says so."""
    async with ground(OK) as one:
        await one.session.close()
        with pytest.raises((RuntimeError, ClientConnectionError), match="closed"):
            await one.post()
        assert one.server.heads == []


async def test_a_connection_that_takes_too_long_is_a_timeout() -> None:
    """Aiohttp's session raises the same error with the same text."""
    async with ground(OK) as one, ClientSession(timeout=ClientTimeout(connect=1e-9)) as hasty:
        with pytest.raises(ConnectionTimeoutError, match=r"^Connection timeout to host http://127"):
            await post(hasty, one.destination, "", b"", whole)


async def test_a_handshake_that_is_not_answered_is_a_timeout() -> None:
    """The timeout of connections includes TLS, and the connection is closed."""
    async with ground(OK) as one:
        url = one.destination.url.with_scheme("https")
        timeout = ClientTimeout(sock_connect=0.2)
        async with ClientSession(timeout=timeout) as hasty:
            with pytest.raises(ConnectionTimeoutError):
                await post(hasty, Destination(url, "any", None), "", b"", whole)
            assert replace(one, session=hasty).idle == []


async def test_a_proxy_that_is_silent_holds_no_connection_of_a_cancelled_request() -> None:
    """Only the caller's time limit ends the wait for a tunnel."""
    async with ground(None) as one:
        proxy = str(one.destination.url)
        destination = Destination(URL("https://a.invalid"), "a.invalid", proxy)
        request = asyncio.create_task(post(one.session, destination, "", b"", whole))
        await eventually(lambda: one.server.connections == 1)
        request.cancel()
        await asyncio.wait((request,))
        assert one.idle == []


@pytest.mark.parametrize("value", ["a\nb", "a\r\nX-Other: 1", "a\n"])
def test_a_header_is_one_line(value: str) -> None:
    """A session token from a file may end with a line break, and is refused by its name."""
    with pytest.raises(ValueError, match="X-Amz-Security-Token") as raised:
        header_line("X-Amz-Security-Token", value)
    assert value not in str(raised.value)
