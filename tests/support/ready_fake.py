"""The fake service behind a gateway: with the health that active checks ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
from grpc_health.v1.health import aio as health
from grpc_health.v1.health_pb2 import HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

from dynamodb_processor.v1.cache_service_pb2_grpc import add_CacheServiceServicer_to_server
from dynamodb_processor.v1.catalog_service_pb2_grpc import add_CatalogServiceServicer_to_server
from dynamodb_processor.v1.query_service_pb2_grpc import add_QueryServiceServicer_to_server
from tests.support.fake_service import FakeService


@asynccontextmanager
async def ready(
    *services: FakeService, credentials: grpc.ServerCredentials | None = None
) -> AsyncIterator[list[grpc.aio.Server]]:
    """Run each service on a port of its own, ready, and set its address."""
    servers = [await _start(service, credentials) for service in services]
    try:
        yield servers
    finally:
        for server in servers:
            await server.stop(grace=None)


async def _start(
    service: FakeService, credentials: grpc.ServerCredentials | None
) -> grpc.aio.Server:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    add_QueryServiceServicer_to_server(service, server)
    add_CatalogServiceServicer_to_server(service, server)
    add_CacheServiceServicer_to_server(service, server)
    checks = health.HealthServicer()
    await checks.set("readiness", HealthCheckResponse.SERVING)
    add_HealthServicer_to_server(checks, server)
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
    service.address = f"127.0.0.1:{port}"
    await server.start()
    return server
