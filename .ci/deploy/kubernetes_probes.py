"""Asks a running server each probe of a container, as the kubelet does."""

from __future__ import annotations

from collections.abc import Mapping

from kubernetes_objects import Object

from dynamodb_processor_server.rpc.health_client import serving_status

_PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


async def probe_findings(container: Object, addresses: Mapping[int, str]) -> list[str]:
    """Return one sentence for each probe that the server does not answer with SERVING.

    Args:
        container: The server's container.
        addresses: Where the server listens in place of each port of the container.
    """
    findings = []
    for kind in _PROBES:
        asked = container[kind]["grpc"]
        address = addresses.get(asked["port"])
        if address is None:
            findings.append(f"{kind}: the server does not listen on port {asked['port']}")
            continue
        timeout = float(container[kind].get("timeoutSeconds", 1))
        status = await serving_status(address, asked["service"], timeout)
        if status != "SERVING":
            findings.append(f"{kind}: port {asked['port']}, {asked['service']!r}: {status}")
    return findings
