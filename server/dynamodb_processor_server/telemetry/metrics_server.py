"""Serves metrics over HTTP, on a port and in threads of its own."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from socket import AF_INET, AF_INET6, SHUT_RDWR, socket
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, Final, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from dynamodb_processor_server.errors import ConfigurationError

# For one scrape. Prometheus waits no longer by default.
_SCRAPE_SECONDS: Final = 10.0
_MAX_SCRAPES: Final = 100  # at once; further ones are cut off


class MetricsServer:
    """Serves a registry for the time of its `with`; no client can block it.

    Raises ConfigurationError when the port is taken.
    """

    def __init__(self, registry: CollectorRegistry, host: str, port: int) -> None:
        self._registry = registry
        self._host = host
        self._port = port
        self._server: WSGIServer | None = None

    def __enter__(self) -> Self:
        kind = _ServerOfIPv6 if ":" in self._host else _Server
        try:
            server = kind((self._host, self._port), _Handler)
        except OSError as error:
            address = f"{self._host}:{self._port}"
            reason = error.strerror or "no such address"
            raise ConfigurationError(
                f"metrics_listen: cannot serve on {address}: {reason}; give another address "
                "with --metrics-listen, port 0 for any port that is free, or '' for none"
            ) from None
        server.set_app(make_wsgi_app(self._registry))
        threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
        self._server = server
        return self

    def __exit__(self, *error: object) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

    @property
    def port(self) -> int:
        """The port served, also when 0 was asked for."""
        assert self._server is not None
        return self._server.server_port


class _Handler(WSGIRequestHandler):
    def handle(self) -> None:
        """Answer one request, if it comes to an end."""
        try:
            super().handle()
        except OSError:  # a scraper that has gone, or was cut off, is no news
            self.close_connection = True

    def log_message(self, *args: Any) -> None:
        """Log nothing: scrapes come every few seconds."""


class _Server(ThreadingMixIn, WSGIServer):
    address_family = AF_INET
    daemon_threads = True
    request_queue_size = _MAX_SCRAPES

    def __init__(self, *arguments: Any) -> None:
        self._began: dict[socket, float] = {}  # when, of those being served
        super().__init__(*arguments)

    def server_bind(self) -> None:
        """Bind without looking the host's full name up, for which a resolver may take long."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]
        self.setup_environ()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Return whether a place is left; without it the connection is closed."""
        return len(self._began) < _MAX_SCRAPES

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin to serve one connection, in its place."""
        self._began[request] = time.monotonic()
        try:
            super().process_request(request, client_address)
        except Exception:  # there is no thread for it
            del self._began[request]
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection, and give its place back."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            del self._began[request]

    def service_actions(self) -> None:
        """Cut off scrapes that take too long; called every half second and at each connection."""
        latest = time.monotonic() - _SCRAPE_SECONDS
        for connection, came in list(self._began.items()):
            if came < latest:
                with suppress(OSError):  # it has just ended
                    connection.shutdown(SHUT_RDWR)


class _ServerOfIPv6(_Server):
    address_family = AF_INET6
