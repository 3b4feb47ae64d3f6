"""The two compared servers, as processes on one core, and their used CPU."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import yaml
from prometheus_client.parser import text_string_to_metric_families
from workload import TABLE

REGION: Final = "eu-west-1"
_CLOCK_TICKS: Final = os.sysconf("SC_CLK_TCK")
_START_TIMEOUT: Final = 30.0
_STOP_TIMEOUT: Final = 30.0
_NO_LIMITS: Final = {"calls_per_second": 1_000_000, "planning_seconds_per_second": None}
_READS: Final = "dynamodb_processor_reads_total"


@dataclass(frozen=True, slots=True)
class Server:
    """A server process. `metrics_port` is the port of its metrics, None for the floor."""

    name: str
    process: subprocess.Popen[Any]
    target: str
    metrics_port: int | None = None

    def cpu_seconds(self) -> float:
        """Return the CPU time used so far, user and system, of all threads."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text()
        fields = stat.rpartition(")")[2].split()  # The name before it may have any characters.
        return (int(fields[11]) + int(fields[12])) / _CLOCK_TICKS

    def reads(self) -> Counter[str]:
        """Return the number of read calls by cache status."""
        if self.metrics_port is None:
            return Counter()
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        with urllib.request.urlopen(url, timeout=10) as answer:
            text = answer.read().decode()
        counted: Counter[str] = Counter()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == _READS:
                    counted[sample.labels["cache"]] += int(sample.value)
        return counted


@contextlib.contextmanager
def service(endpoint_url: str, directory: Path, core: int) -> Iterator[tuple[Server, str]]:
    """Run `dynamodb-processor serve` and give it with an API key.

    Everything is as shipped but for the ports, the endpoint and a rate that refuses no call. The
    access log, in JSON, goes to a file.
    """
    key = "ddbp_" + secrets.token_urlsafe(32)
    command = [
        str(Path(sys.executable).parent / "dynamodb-processor"),
        *("serve", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"),
        *("--endpoint-url", endpoint_url, "--region", REGION),
        *("--catalog", str(_write(directory / "catalog.yaml", _catalog()))),
        *("--keys", str(_write(directory / "keys.yaml", _keys(key)))),
        *("--rate-classes", json.dumps({"default": _NO_LIMITS})),
    ]
    own = "DYNAMODB_PROCESSOR_"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    environment |= {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench"}
    log = directory / "access.log"
    with log.open("wb") as errors, _pinned(command, core, environment, stderr=errors) as process:
        said = _serving(process, log)
        yield Server("service", process, said["address"], said["metrics_port"]), key


@contextlib.contextmanager
def floor(payload: bytes, directory: Path, core: int) -> Iterator[Server]:
    """Run the bare server that answers with `payload`."""
    file = directory / "payload"
    file.write_bytes(payload)
    command = [sys.executable, str(Path(__file__).with_name("floor.py")), str(file)]
    with _pinned(command, core, dict(os.environ), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield Server("floor", process, f"127.0.0.1:{int(process.stdout.readline())}")


@contextlib.contextmanager
def _pinned(
    command: Sequence[str],
    core: int,
    environment: dict[str, str],
    stdout: int | None = None,
    stderr: IO[bytes] | None = None,
) -> Iterator[subprocess.Popen[Any]]:
    """Run a process that has had one core from its first instruction on."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        process = subprocess.Popen(command, env=environment, stdout=stdout, stderr=stderr)
    finally:
        os.sched_setaffinity(0, before)
    with process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(_STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()


def _serving(process: subprocess.Popen[Any], log: Path) -> dict[str, Any]:
    """Return the log record with the address of the service."""
    deadline = time.monotonic() + _START_TIMEOUT
    while process.poll() is None and time.monotonic() < deadline:
        for line in log.read_text().splitlines():
            if line.startswith("{") and '"event":"serving"' in line:
                return dict(json.loads(line))
        time.sleep(0.1)
    raise SystemExit(f"the service does not start:\n{log.read_text()}")


def _catalog() -> dict[str, Any]:
    # No page may expire while it is measured.
    return {"tables": {TABLE: {"cache_ttl": 3_600}}}


def _keys(key: str) -> dict[str, Any]:
    digest = "sha256:" + hashlib.sha256(key.encode()).hexdigest()
    entry = {"id": "bench-1", "principal": "bench", "digest": digest, "tables": ["bench_*"]}
    return {"keys": [entry]}


def _write(file: Path, content: dict[str, Any]) -> Path:
    file.write_text(yaml.safe_dump(content))
    return file
