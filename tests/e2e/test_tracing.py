"""Traces of a server as a process: collectors that fail, missing packages, and no traces at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from dynamodb_processor.v1.query_service_pb2 import QueryRequest
from tests.support.channels import open_caller
from tests.support.event_service import CATALOG, ENVIRONMENT, KEYS, READER
from tests.support.messages import spec
from tests.support.otlp import open_collector, values
from tests.support.processes import ServerProcess, clean_environment, served, start_command
from tests.support.running import eventually
from tests.support.silent_server import silent_server

CALLS: Final = 30
QUEUE: Final = 10


def settings(endpoint: str, **more: str) -> dict[str, str]:
    """Return the environment of a server that sends traces to an endpoint."""
    return {
        **ENVIRONMENT,
        "DYNAMODB_PROCESSOR_TRACING": "otlp",
        "DYNAMODB_PROCESSOR_TRACING_ENDPOINT": endpoint,
        **more,
    }


async def call(server: ServerProcess) -> None:
    """Make hits and misses."""
    async with open_caller(server.address, READER.text) as caller:
        for number in range(CALLS):
            query = spec("events", "user_id = :u", {"u": {"S": f"u-{number % 5}"}})
            await caller.query(QueryRequest(query=query))


async def test_a_collector_that_hangs_delays_nothing(events: str, tmp_path: Path) -> None:
    """Calls are served and the server ends in its time; spans are dropped and counted."""
    bounds = {"OTEL_BSP_MAX_QUEUE_SIZE": str(QUEUE), "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "5"}
    with silent_server() as port:
        env = settings(f"http://127.0.0.1:{port}", **bounds)
        with served(CATALOG, KEYS, tmp_path, endpoint_url=events, env=env) as server:
            await call(server)
            assert server.metric("calls_total", ".*") == CALLS
            dropped = await eventually(
                lambda: server.metric("spans_dropped_total", 'reason="queue_full"')
            )
            assert dropped >= CALLS - QUEUE
        assert server.returncode == 0
        assert server.wait_for_event("spans_not_flushed")["after_seconds"] == 2
    assert "exit_forced" not in server.output


async def test_the_last_spans_are_sent_at_the_end(events: str, tmp_path: Path) -> None:
    """A server that ends sends what it has, under the name that the environment gives it."""
    with open_collector() as collector:
        env = settings(
            collector.url,
            OTEL_SERVICE_NAME="orders-reader",
            OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=e2e",
            OTEL_BSP_SCHEDULE_DELAY="3600000",
        )
        with served(CATALOG, KEYS, tmp_path, endpoint_url=events, env=env) as server:
            await call(server)
            assert not collector.spans
        assert len(collector.calls("/Query")) == CALLS
        assert collector.resource["service.name"] == "orders-reader"
        assert collector.resource["deployment.environment.name"] == "e2e"
        caches = [values(one.attributes)["dynamodb_processor.cache"] for one in collector.calls()]
        assert set(caches) == {"HIT", "MISS"}


def _without_packages(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a process that finds no package of OpenTelemetry."""
    blocked = tmp_path / "blocked" / "opentelemetry"
    blocked.mkdir(parents=True)
    (blocked / "__init__.py").write_text("", encoding="utf-8")
    return {"PYTHONPATH": str(blocked.parent)}


async def test_a_server_without_traces_needs_no_package(events: str, tmp_path: Path) -> None:
    """It serves where OpenTelemetry is not installed."""
    env = ENVIRONMENT | _without_packages(tmp_path)
    with served(CATALOG, KEYS, tmp_path, endpoint_url=events, env=env) as server:
        await call(server)
        assert server.metric("calls_total", ".*") == CALLS
    assert server.returncode == 0


def test_nothing_that_traces_is_imported_without_traces() -> None:
    """Packages that are installed are not imported either, but for those that redis-py imports."""
    code = (
        "import sys, dynamodb_processor_server.app, dynamodb_processor_server.cli.serve\n"
        "ours = ('dynamodb_processor_server.telemetry.tracing', 'opentelemetry.exporter',\n"
        "        'opentelemetry.sdk.trace', 'requests')\n"
        "print([name for name in sys.modules if name.startswith(ours)])\n"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], env=clean_environment(), capture_output=True, check=True
    )
    assert shown.stdout.decode().strip() == "[]"


def _refused(tmp_path: Path, command: str = "serve", **env: str) -> str:
    """Return the output of a command whose settings are refused."""
    (tmp_path / "catalog.yaml").write_text('discover: ["x-*"]', encoding="utf-8")
    (tmp_path / "keys.yaml").write_text("keys: []", encoding="utf-8")
    arguments = [command, "--catalog", "catalog.yaml", "--keys", "keys.yaml"]
    given = settings("http://127.0.0.1:1", **env)
    server = start_command([*arguments, "--listen", "127.0.0.1:0"], env=given, cwd=tmp_path)
    assert server.wait() == 2
    return server.output


def test_missing_packages_are_named(tmp_path: Path) -> None:
    """The error says how to install them."""
    output = _refused(tmp_path, **_without_packages(tmp_path))
    assert "pip install 'dynamodb-processor[server,tracing]'" in output


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        (
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "grpc",
            "OTEL_EXPORTER_OTLP_PROTOCOL: must be http/protobuf",
        ),
        (
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
            "http/json",
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: must be http/protobuf",
        ),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "a=b,Bearer hush-hush",
            "OTEL_EXPORTER_OTLP_HEADERS: entry 2 must be name=value",
        ),
    ],
)
@pytest.mark.parametrize("command", ["config", "serve"])
def test_a_wrong_variable_is_named(
    tmp_path: Path, command: str, name: str, value: str, words: str
) -> None:
    """The checking command and the server both name it, and show no secret."""
    output = _refused(tmp_path, command, **{name: value})
    assert words in output
    assert "hush-hush" not in output
    assert "Traceback" not in output


def test_a_variable_that_the_library_refuses_is_an_error(tmp_path: Path) -> None:
    """The server does not start."""
    output = _refused(tmp_path, OTEL_BSP_MAX_EXPORT_BATCH_SIZE="4096")
    assert "tracing: one of OpenTelemetry's variables OTEL_… has a wrong value" in output
    assert "Traceback" not in output
