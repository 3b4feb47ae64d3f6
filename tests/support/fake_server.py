"""Runs the fake service on a gRPC server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from dynamodb_processor.v1.cache_service_pb2_grpc import add_CacheServiceServicer_to_server
from dynamodb_processor.v1.catalog_service_pb2_grpc import add_CatalogServiceServicer_to_server
from dynamodb_processor.v1.query_service_pb2_grpc import add_QueryServiceServicer_to_server
from tests.support.fake_service import FakeService


@asynccontextmanager
async def running(
    service: FakeService,
    credentials: grpc.ServerCredentials | None = None,
    *,
    address: str = "127.0.0.1:0",
) -> AsyncIterator[grpc.aio.Server]:
    """Run the service, on a free port unless one is given, and set its address."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    add_QueryServiceServicer_to_server(service, server)
    add_CatalogServiceServicer_to_server(service, server)
    add_CacheServiceServicer_to_server(service, server)
    if credentials is None:
        port = server.add_insecure_port(address)
    else:
        port = server.add_secure_port(address, credentials)
    service.address = f"127.0.0.1:{port}"
    await server.start()
    try:
        yield server
    finally:
        await server.stop(grace=None)
