"""Bounds on clients that hold before, and besides, the rate limits of their calls."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from dynamodb_processor_server.limits.calls_in_flight import CallsInFlight
from dynamodb_processor_server.rpc.connections import ConnectionGuard
from dynamodb_processor_server.rpc.interceptors.unauthenticated import UnauthenticatedCalls
from dynamodb_processor_server.rpc.request_receiver import RequestReceiver


@dataclass(frozen=True, slots=True)
class BoundSettings:
    """Bounds on connections and calls; seconds and bytes.

    Attributes:
        max_connections: Connections of all clients. No address has more than half for long.
        max_calls_per_connection: Calls under way on one connection.
        max_calls: Calls under way of authenticated callers. No caller has more than half.
        max_unauthenticated_calls: Calls under way of all others.
        max_unsent_bytes: Bytes of responses that clients have not taken. No caller has more than
            half.
        max_page_bytes: Largest size of a page.
        request_timeout: Seconds in which a request must arrive completely.
    """

    max_connections: int
    max_calls_per_connection: int
    max_calls: int
    max_unauthenticated_calls: int
    max_unsent_bytes: int
    max_page_bytes: int
    request_timeout: float

    @property
    def options(self) -> tuple[tuple[str, int], ...]:
        """The options of a gRPC server for the bounds that gRPC itself enforces."""
        return (
            ("grpc.max_concurrent_streams", self.max_calls_per_connection),
            ("grpc.max_allowed_incoming_connections", self.max_connections),
            # A client that connects and then sends nothing is disconnected.
            ("grpc.server_handshake_timeout_ms", 10_000),
            # Requests are small. Without the probe, the number of bytes that a client may send
            # before the server asks for them does not grow with the speed of its connection.
            ("grpc.http2.bdp_probe", 0),
        )


class Bounds:
    """The bounds that one server enforces, with their state."""

    def __init__(self, settings: BoundSettings) -> None:
        self.settings = settings
        self.connections = ConnectionGuard(settings.max_connections)
        self.receiver = RequestReceiver(settings.request_timeout, self._close)
        self.unauthenticated = UnauthenticatedCalls(settings.max_unauthenticated_calls, self._close)
        self.under_way = CallsInFlight(
            settings.max_calls, settings.max_unsent_bytes, settings.max_page_bytes
        )

    def _close(self, peers: Collection[str]) -> None:
        self.connections.close(peers)
