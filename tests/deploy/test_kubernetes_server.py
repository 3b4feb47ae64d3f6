"""The real server starts with the settings of each overlay, and answers the overlay's probes.

Run by `make check-deploy`: kubectl renders the overlays.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Final

import pytest
from kubernetes_check import kubectl
from kubernetes_objects import FOLDER, OVERLAYS, parse, render
from kubernetes_probes import probe_findings
from kubernetes_references import mounted_files

from tests.support.certificates import issue, presented_serial
from tests.support.datasets import Index, Schema
from tests.support.dynamodb import create_table, open_client
from tests.support.processes import ServerProcess, free_address, start_command
from tests.support.redis_server import RedisServer

_TOKEN_KEYS: Final = f"2026-12:{'A' * 43}"
_TABLE: Final = Schema(
    "audit-events",
    "user_id",
    "occurred_at",
    (
        Index("by_system", False, ("system_id",), ("occurred_at",)),
        Index("by_action", False, ("action",), ("occurred_at",)),
    ),
    {"user_id": "S", "occurred_at": "S", "system_id": "S", "action": "S"},
)


@pytest.fixture(scope="module")
def tables(dynamodb_local: str) -> Iterator[str]:
    """The endpoint URL of a DynamoDB that has the table of the catalogs."""
    client = open_client(dynamodb_local)
    create_table(client, _TABLE, "NEW_AND_OLD_IMAGES")
    yield dynamodb_local
    client.delete_table(TableName=_TABLE.table)


class Pod:
    """The server's container of an overlay, as far as a process can be one."""

    def __init__(self, overlay: str, folder: Path, endpoint_url: str, redis_url: str) -> None:
        self.objects = parse(render(kubectl(), overlay))
        self.container: dict[str, Any] = self.objects.server.containers[0]
        self.addresses: dict[int, str] = {}
        self.certificate = issue()
        files = self._files(folder, {"token-keys": _TOKEN_KEYS, "redis-url": redis_url})
        self.environment = {"DYNAMODB_PROCESSOR_ENDPOINT_URL": endpoint_url}
        for name, value in self.objects.variables(self.container).items():
            assert value is not None, f"{name} is a secret: files are reloaded, variables are not"
            self.environment[name] = files.get(PurePosixPath(value)) or self._own_address(value)

    def _files(self, folder: Path, secrets: dict[str, str]) -> dict[PurePosixPath, str]:
        """Write the files of ConfigMaps and Secrets, and return their paths by those in the pod."""
        written = {}
        examples = parse((FOLDER / "secret.example.yaml").read_text("utf-8"))
        secrets["tls.crt"] = self.certificate.pem.decode()
        secrets["tls.key"] = self.certificate.key.decode()
        mounted = mounted_files(self.objects.server, self.objects, examples)
        for path, (kind, name, key) in mounted.items():
            found = (self.objects if kind == "ConfigMap" else examples).named(kind, name)
            assert found is not None
            file = folder / f"{kind}-{name}-{key}"
            content = (found.get("data") or found["stringData"])[key]
            file.write_text(secrets.get(key, content), "utf-8")
            written[path] = str(file)
        return written

    def _own_address(self, value: str) -> str:
        """Return a free address in place of one on which other pods reach the server."""
        host, _, port = value.rpartition(":")
        if host != "0.0.0.0":  # noqa: S104 - the address of a pod, not of this process
            return value
        self.addresses[int(port)] = address = free_address()
        return address

    @property
    def has_tls(self) -> bool:
        """Whether the overlay gives the server a certificate."""
        return "DYNAMODB_PROCESSOR_TLS_CERTIFICATE" in self.environment

    def start(self, command: str) -> ServerProcess:
        """Start a command of the server with the pod's environment."""
        return start_command([command], env=self.environment)


@pytest.fixture(params=OVERLAYS)
def pod(
    request: pytest.FixtureRequest, tmp_path: Path, tables: str, redis_server: RedisServer
) -> Pod:
    """The server's container in an overlay."""
    return Pod(request.param, tmp_path, tables, redis_server.url)


async def test_the_server_answers_every_probe(pod: Pod) -> None:
    """Each probe's port and name are served; another name, or another port, is found."""
    server = pod.start("serve")
    try:
        server.wait_for_event("serving")
        assert await probe_findings(pod.container, pod.addresses) == []
        if pod.has_tls:
            assert presented_serial(pod.addresses[50051]) == pod.certificate.x509.serial_number
        other = copy.deepcopy(pod.container)
        other["readinessProbe"]["grpc"]["service"] = "ready"
        other["livenessProbe"]["grpc"]["port"] += 1
        port = pod.container["livenessProbe"]["grpc"]["port"]
        assert await probe_findings(other, pod.addresses) == [
            f"livenessProbe: the server does not listen on port {port + 1}",
            f"readinessProbe: port {port}, 'ready': NOT_FOUND",
        ]
        warnings = [one for one in server.records if one["event"] == "setting_warning"]
        assert warnings == []
    finally:
        assert server.stop() == 0


def test_config_accepts_the_overlay(pod: Pod) -> None:
    """`dynamodb-processor config` reads the catalog, every table, its stream, and Redis."""
    checked = pod.start("config")
    assert checked.wait() == 0, checked.output
    assert "audit_events: ok" in checked.output
