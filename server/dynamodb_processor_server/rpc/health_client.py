"""Calls the health service of another server, as an orchestrator's probe does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """How to call a server that speaks TLS.

    Attributes:
        credentials: The credentials of a channel.
        server_name: The name that the server's certificate must have; empty for the target's host.
    """

    credentials: grpc.ChannelCredentials
    server_name: str = ""

    @classmethod
    def of(
        cls, ca: bytes, certificate: bytes | None, key: bytes | None, server_name: str
    ) -> TlsOptions:
        """Return the options for authorities, and a client certificate with its key, in PEM."""
        return cls(grpc.ssl_channel_credentials(ca, key, certificate), server_name)


async def serving_status(
    target: str,
    service: str,
    timeout: float,  # noqa: ASYNC109 - gRPC's own
    tls: TlsOptions | None = None,
) -> str:
    """Return a server's serving status for a health name: "SERVING", "NOT_SERVING" and so on.

    If the call does not end with OK within `timeout` seconds, return the name of its gRPC status,
    such as "UNAVAILABLE" or "NOT_FOUND".
    """
    request = health_pb2.HealthCheckRequest(service=service)
    async with _channel(target, tls) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)  # its stubs lack the methods
        try:
            answer = await stub.Check(request, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            return error.code().name
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


def _channel(target: str, tls: TlsOptions | None) -> grpc.aio.Channel:
    if tls is None:
        return grpc.aio.insecure_channel(target)
    options = [("grpc.ssl_target_name_override", tls.server_name)] if tls.server_name else []
    return grpc.aio.secure_channel(target, tls.credentials, options=options)
