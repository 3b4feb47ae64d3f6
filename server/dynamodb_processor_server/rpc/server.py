"""Assembles the gRPC server: services, hooks in their order, health, reflection, options."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import grpc
import structlog
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from dynamodb_processor.v1 import (
    cache_service_pb2,
    catalog_service_pb2,
    query_service_pb2,
)
from dynamodb_processor_server.rpc.call_context import current_call
from dynamodb_processor_server.rpc.client_bounds import Bounds
from dynamodb_processor_server.rpc.decode.page_request import REQUEST_DECODERS, is_kept
from dynamodb_processor_server.rpc.interceptors.call_hook import CallHook
from dynamodb_processor_server.rpc.interceptors.chain import InterceptedHandlers
from dynamodb_processor_server.rpc.listening import Endpoint, listen
from dynamodb_processor_server.rpc.method_handlers import MAX_REQUEST_BYTES, service_handler
from dynamodb_processor_server.rpc.planning import PlanningWork
from dynamodb_processor_server.rpc.services.cache import CacheServicer
from dynamodb_processor_server.rpc.services.catalog import CatalogServicer
from dynamodb_processor_server.rpc.services.health import Health
from dynamodb_processor_server.rpc.services.query import QueryServicer
from dynamodb_processor_server.rpc.services.reflection import Reflection

_log = structlog.get_logger(__name__)

QUERY_SERVICE: Final = query_service_pb2.DESCRIPTOR.services_by_name["QueryService"]
CATALOG_SERVICE: Final = catalog_service_pb2.DESCRIPTOR.services_by_name["CatalogService"]
CACHE_SERVICE: Final = cache_service_pb2.DESCRIPTOR.services_by_name["CacheService"]
HEALTH_SERVICE: Final = health_pb2.DESCRIPTOR.services_by_name["Health"]
REFLECTION_SERVICE: Final = reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"]

OPTIONS: Final = (
    # Two servers on one port would each get some of the calls, silently.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    # By default gRPC disconnects a client behind a proxy that pings to keep its connection.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
)

_CHECK: Final = f"/{HEALTH_SERVICE.full_name}/Check"

# Seconds for connections to close, and for handlers to clean up, once no call is in flight.
_CLOSE_SECONDS: Final = 2.0

# Bytes of a request that is no query: small ones hold names; a request of the cache service holds
# the partition keys of a table and its twenty global indexes, each of 2 KB in up to four attributes
# with names of 255 bytes.
MAX_SMALL_REQUEST: Final = 32 * 1024
_MAX_CACHE_REQUEST: Final = 128 * 1024

# Bytes of a request that is decoded on the event loop: that takes 2 ms at most. A longer one is
# decoded in the thread that plans.
_MAX_INLINE_REQUEST: Final = 32 * 1024

_COMPRESSIONS: Final = {"off": None, "gzip": grpc.Compression.Gzip}


def all_methods() -> list[str]:
    """Return the methods of the contract, as gRPC names them."""
    services = (QUERY_SERVICE, CATALOG_SERVICE, CACHE_SERVICE)
    return [
        f"/{service.full_name}/{method.name}" for service in services for method in service.methods
    ]


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """The age, in seconds, at which the server ends connections.

    Clients then connect again, and so spread over new replicas. After `max_age` (plus or minus a
    tenth) the server sends GOAWAY, and calls in flight have `max_age_grace` to end. A `max_age` of
    0 keeps connections indefinitely.
    """

    max_age: float = 60.0
    max_age_grace: float = 60.0

    @property
    def options(self) -> tuple[tuple[str, int], ...]:
        """The options of a gRPC server for these settings."""
        if not self.max_age:
            return ()
        return (
            ("grpc.max_connection_age_ms", math.ceil(self.max_age * 1000)),
            ("grpc.max_connection_age_grace_ms", math.ceil(self.max_age_grace * 1000)),
        )


@dataclass(frozen=True, slots=True)
class Services:
    """The servicers of a server, and the event that ends their long calls."""

    query: QueryServicer
    catalog: CatalogServicer
    cache: CacheServicer
    health: Health
    draining: asyncio.Event  # set when calls that may last long must end


def _charged_to_caller(planning: PlanningWork) -> Callable[[int, Callable[[], Any]], Any]:
    """Return a function that reads a large request and charges the time to its caller."""

    def read_large(size: int, read: Callable[[], Any]) -> Any:
        caller = current_call().caller
        if size <= _MAX_INLINE_REQUEST:
            return planning.run(caller, read)
        return planning.run_in_thread(caller, size, read)

    return read_large


class RpcServer:
    """A gRPC server. `hooks` run around every call, the first one outermost."""

    def __init__(
        self,
        services: Services,
        hooks: Sequence[CallHook],
        reflection_mode: Literal["open", "authenticated", "off"],
        compression: Literal["off", "gzip"],
        planning: PlanningWork,
        connections: ConnectionSettings,
        bounds: Bounds,
    ) -> None:
        served: list[tuple[Any, object]] = [
            (QUERY_SERVICE, services.query),
            (CATALOG_SERVICE, services.catalog),
            (CACHE_SERVICE, services.cache),
            (HEALTH_SERVICE, services.health),
        ]
        if reflection_mode != "off":
            names = [service.full_name for service, _ in served] + [REFLECTION_SERVICE.full_name]
            served.append((REFLECTION_SERVICE, Reflection(names, services.draining)))
        max_bytes = {CACHE_SERVICE.full_name: _MAX_CACHE_REQUEST}
        handlers = [
            service_handler(
                service,
                servicer,
                REQUEST_DECODERS,
                is_kept,
                read_large=_charged_to_caller(planning),
            )
            if service is QUERY_SERVICE
            else service_handler(
                service, servicer, max_bytes=max_bytes.get(service.full_name, MAX_SMALL_REQUEST)
            )
            for service, servicer in served
        ]
        self._bounds = bounds
        self._handlers = InterceptedHandlers(
            handlers, hooks, bounds.receiver, bounds.unauthenticated.enter
        )
        self._server = grpc.aio.server(
            options=(*OPTIONS, *connections.options, *bounds.settings.options),
            compression=_COMPRESSIONS[compression],
        )
        self._server.add_generic_rpc_handlers((self._handlers,))
        # Health checks have their own queue: when more than a thousand calls wait in one, gRPC
        # drops some of them, so a flood of unauthenticated calls could make probes fail.
        self._server.add_registered_method_handlers(
            HEALTH_SERVICE.full_name, {"Check": self._handlers.handler(_CHECK)}
        )

    async def start(self, endpoints: Sequence[Endpoint]) -> list[str]:
        """Serve on endpoints and return their addresses; for port 0, with the port that was chosen.

        Raises ConfigurationError as `listen`.
        """
        addresses = []
        for endpoint in endpoints:
            port = await listen(self._server, endpoint)
            self._bounds.connections.ports.add(port)
            addresses.append(f"{endpoint.address.rpartition(':')[0]}:{port}")
        await self._server.start()
        return addresses

    async def stop(self, grace: float) -> None:
        """Accept no more calls, give calls in flight `grace` seconds, and wait until they end.

        Once no call is in flight, connections get two seconds to close: gRPC waits until clients
        have confirmed the close, and a client that hangs never does.
        """
        stopping = asyncio.create_task(self._server.stop(grace))
        while not stopping.done():
            idle = asyncio.create_task(self._handlers.wait_until_idle())
            await asyncio.wait((stopping, idle), return_when=asyncio.FIRST_COMPLETED)
            idle.cancel()
            await asyncio.wait((stopping,), timeout=_CLOSE_SECONDS)
            if not self._handlers.active:
                break
        await self._server.stop(None)
        await stopping
        # gRPC's `stop` may return before the last handlers have cleaned up.
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._handlers.wait_until_idle()
        except TimeoutError:
            _log.warning("calls_did_not_end")
