"""Sends POST requests over the connections of an aiohttp session.

`ClientSession.post` prepares every kind of request that HTTP knows, and sends the body in a task of
its own. Requests for data are all alike, so only the connection pool of the session and its parser
of responses are used here; decision 0032 has the measured difference.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple, TypeVar

from aiohttp import (
    ClientConnectionError,
    ClientConnectionResetError,
    ClientRequest,
    ClientSession,
    ConnectionTimeoutError,
    StreamReader,
)
from aiohttp.connector import Connection
from aiohttp.hdrs import PROXY_AUTHORIZATION
from yarl import URL

_T = TypeVar("_T")

_LINE_BREAKS: Final = ("\r", "\n")


class ResponseHead(NamedTuple):
    """The status of a response, and its headers by their names in lower case."""

    status: int
    headers: dict[str, str]


class Destination:
    """An address that requests are sent to, through a proxy if there is one.

    `host` is the value of the Host header. It is to be made while an event loop runs.
    """

    def __init__(self, url: URL, host: str, proxy: str | None) -> None:
        self.url = url
        self.proxy = proxy
        # The pool finds and makes connections for it; it is never sent.
        self._route = ClientRequest("POST", url, proxy=None if proxy is None else URL(proxy))
        # A proxy needs the whole address, unless it only passes on an encrypted connection.
        is_passed_on = proxy is not None and not self._route.is_ssl()
        target = str(url) if is_passed_on else url.raw_path_qs
        self._start = f"POST {target} HTTP/1.1\r\nHost: {host}\r\n"

    async def connect(self, session: ClientSession) -> Connection:
        """Return a connection of a session's pool."""
        connector = session.connector
        if connector is None:
            raise RuntimeError("the session is closed")
        try:
            return await connector.connect(self._route, [], session.timeout)
        except TimeoutError as error:
            raise ConnectionTimeoutError(f"Connection timeout to host {self.url}") from error

    def message(self, headers: str, body: bytes) -> bytes:
        """Return the bytes of a request, for a connection that `connect` has returned."""
        head = f"{self._start}{headers}Content-Length: {len(body)}\r\n"
        if self.proxy is not None:
            authorization = self._route.headers.get(PROXY_AUTHORIZATION)
            if authorization is not None:
                head += f"{PROXY_AUTHORIZATION}: {authorization}\r\n"
        return b"".join((head.encode(), b"\r\n", body))


def header_line(name: str, value: str) -> str:
    """Return a header as it is sent; raise ValueError for a value that is more than one line."""
    if any(end in value for end in _LINE_BREAKS):
        raise ValueError(f"the header {name} would contain a line break")
    return f"{name}: {value}\r\n"


async def post(
    session: ClientSession,
    destination: Destination,
    headers: str,
    body: bytes,
    receive: Callable[[ResponseHead, StreamReader], Awaitable[_T]],
) -> _T:
    """Send a request, and return the result of `receive`, which reads the response to its end.

    `headers` are lines of `header_line`; those of connection and length are added. Raises aiohttp's
    exceptions.
    """
    connection = await destination.connect(session)
    try:
        head, reader = await _exchange(session, connection, destination.message(headers, body))
        received = await receive(head, reader)
    except BaseException:
        connection.close()
        raise
    connection.release()
    return received


async def _exchange(
    session: ClientSession, connection: Connection, message: bytes
) -> tuple[ResponseHead, StreamReader]:
    """Send a message; return the head of the response, and the reader of its body."""
    protocol, transport = connection.protocol, connection.transport
    if protocol is None or transport is None or transport.is_closing():
        raise ClientConnectionResetError("Cannot write to closing transport")
    if protocol.should_close:  # bytes came while it was idle: they would be taken for the response
        raise ClientConnectionError("Received a response without a request")
    protocol.set_response_params(
        read_until_eof=True, auto_decompress=False, read_timeout=session.timeout.sock_read
    )
    transport.write(message)
    protocol.start_timeout()
    while True:
        response, reader = await protocol.read()
        if response.code >= 200:
            return ResponseHead(response.code, _texts(response.raw_headers)), reader


def _texts(headers: Any) -> dict[str, str]:
    return {name.decode().lower(): value.decode() for name, value in headers}
