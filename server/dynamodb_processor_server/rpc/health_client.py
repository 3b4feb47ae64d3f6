"""Calls the health service of another server, as an orchestrator's probe does."""

from __future__ import annotations

from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc


async def serving_status(target: str, service: str, timeout: float) -> str:  # noqa: ASYNC109 - gRPC's own
    """Return a server's serving status for a health name: "SERVING", "NOT_SERVING" and so on.

    If the call does not end with OK within `timeout` seconds, return the name of its gRPC status,
    such as "UNAVAILABLE" or "NOT_FOUND".
    """
    request = health_pb2.HealthCheckRequest(service=service)
    async with grpc.aio.insecure_channel(target) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)  # its stubs lack the methods
        try:
            answer = await stub.Check(request, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            return error.code().name
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
