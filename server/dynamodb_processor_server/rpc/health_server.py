"""A port of its own for health checks, in plain text, for probes that cannot use TLS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import grpc

from dynamodb_processor_server.rpc.client_bounds import Bounds
from dynamodb_processor_server.rpc.interceptors.call_hook import CallHook
from dynamodb_processor_server.rpc.interceptors.chain import InterceptedHandlers
from dynamodb_processor_server.rpc.listening import Endpoint, listen
from dynamodb_processor_server.rpc.method_handlers import service_handler
from dynamodb_processor_server.rpc.server import HEALTH_SERVICE, MAX_SMALL_REQUEST, OPTIONS
from dynamodb_processor_server.rpc.services.health import Health

_CALLS_PER_CONNECTION: Final = 32


class HealthServer:
    """Serves `grpc.health.v1` and nothing else, with the same statuses as the main server."""

    def __init__(
        self,
        address: str,
        health: Health,
        hooks: Sequence[CallHook],
        bounds: Bounds,
        max_connections: int,
    ) -> None:
        """Create a server.

        Args:
            address: HOST:PORT; port 0 takes a free port.
            health: The servicer, which the main server has as well.
            hooks: Run around every call, the first one outermost.
            bounds: The bounds on clients.
            max_connections: Connections at once.
        """
        self._endpoint = Endpoint("health_listen", address, plain_text_anywhere=True)
        self._bounds = bounds
        service: Any = HEALTH_SERVICE  # of the type that the stubs of protobuf do not name
        handler = service_handler(service, health, max_bytes=MAX_SMALL_REQUEST)
        handlers = InterceptedHandlers(
            (handler,), hooks, bounds.receiver, bounds.unauthenticated.enter
        )
        self._server = grpc.aio.server(
            options=(
                *OPTIONS,
                ("grpc.max_concurrent_streams", _CALLS_PER_CONNECTION),
                ("grpc.max_allowed_incoming_connections", max_connections),
                ("grpc.server_handshake_timeout_ms", 10_000),
            )
        )
        self._server.add_generic_rpc_handlers((handlers,))

    async def start(self) -> str:
        """Serve, and return the address; raise ConfigurationError as `listen`."""
        port = await listen(self._server, self._endpoint)
        self._bounds.connections.ports.add(port)
        await self._server.start()
        return f"{self._endpoint.address.rpartition(':')[0]}:{port}"

    async def stop(self) -> None:
        """End at once: the statuses have said before that the server stops."""
        await self._server.stop(None)
