"""Serves metrics over HTTP, on a port and in threads of its own."""

from __future__ import annotations

import threading
from socket import AF_INET, AF_INET6
from socketserver import ThreadingMixIn
from typing import Any, Final, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from dynamodb_processor_server.errors import ConfigurationError

_PATIENCE_SECONDS: Final = 5.0  # with a scraper that does not send or read on
_MAX_SCRAPES: Final = 100  # at once; what comes beside them is cut off


class MetricsServer:
    """Serves a registry for the time of its `with`, whatever those who connect do or leave undone.

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
        except OSError:
            address = f"{self._host}:{self._port}"
            raise ConfigurationError(f"metrics_listen: cannot serve on {address}") from None
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
    timeout = _PATIENCE_SECONDS

    def handle(self) -> None:
        """Answer one request, if it comes to an end."""
        try:
            super().handle()
        except OSError:  # a scraper that waits, or that has gone, is no news
            self.close_connection = True

    def log_message(self, *args: Any) -> None:
        """Log nothing: scrapes come every few seconds."""


class _Server(ThreadingMixIn, WSGIServer):
    address_family = AF_INET
    daemon_threads = True
    request_queue_size = _MAX_SCRAPES

    def __init__(self, *arguments: Any) -> None:
        self._places = threading.BoundedSemaphore(_MAX_SCRAPES)
        super().__init__(*arguments)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Return whether a place is left; without it the connection is closed."""
        return self._places.acquire(blocking=False)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection, and give its place back."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()


class _ServerOfIPv6(_Server):
    address_family = AF_INET6
