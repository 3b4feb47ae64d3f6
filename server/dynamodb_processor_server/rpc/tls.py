"""TLS of the gRPC server, with a certificate that may be replaced while it serves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from dynamodb_processor_server.config_files.tls_files import ServerIdentity


def server_credentials(
    identity: Callable[[], ServerIdentity], *, require_client_certificate: bool
) -> grpc.ServerCredentials:
    """Return credentials for one port, which uses the current identity for each new connection.

    gRPC calls a function of ours, in a thread of its own, before each handshake. The function only
    compares two references unless the identity was replaced. Connections that are open stay open.

    Args:
        identity: Returns the identity in force; called in any thread.
        require_client_certificate: Whether a client needs a certificate of one of the identity's
            client CAs. gRPC for Python has no third way, which accepts one and requires none.
    """
    served = identity()

    def replacement() -> grpc.ServerCertificateConfiguration | None:
        nonlocal served
        current = identity()
        if current is served:
            return None
        served = current
        return configuration(current)

    def configuration(one: ServerIdentity) -> grpc.ServerCertificateConfiguration:
        client_ca = one.client_ca if require_client_certificate else None
        return grpc.ssl_server_certificate_configuration([(one.key, one.chain)], client_ca)

    fetcher: Any = replacement  # the stubs do not know that None means no change
    return grpc.dynamic_ssl_server_credentials(
        configuration(served), fetcher, require_client_certificate
    )
