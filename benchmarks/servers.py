"""The compared servers and libraries, as processes on one core, and their used CPU."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from prometheus_client.parser import text_string_to_metric_families
from workload import TABLE

from dynamodb_processor_server.auth.keys_file import new_key

REGION: Final = "eu-west-1"
_CLOCK_TICKS: Final = os.sysconf("SC_CLK_TCK")
_START_TIMEOUT: Final = 60.0
_STOP_TIMEOUT: Final = 30.0
_NO_LIMITS: Final = {"calls_per_second": 1_000_000, "planning_seconds_per_second": None}
_HERE: Final = Path(__file__).resolve().parent
_READS: Final = "dynamodb_processor_reads_total"


@dataclass(frozen=True, slots=True)
class Server:
    """A measured process. `metrics_port` is the port of its metrics, None if it has none."""

    process: subprocess.Popen[Any]
    target: str
    metrics_port: int | None = None

    def cpu_seconds(self) -> float:
        """Return the CPU time used so far, user and system, of all threads."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text()
        fields = stat.rpartition(")")[2].split()  # The name before it may have any characters.
        return (int(fields[11]) + int(fields[12])) / _CLOCK_TICKS

    def resident_bytes(self) -> int:
        """Return the memory that the process holds now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024

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
    access log, in JSON, goes to a file. `directory` is empty and belongs to this server.
    """
    catalog, keys, key = write_files(directory)
    with replica(endpoint_url, (catalog, keys), directory / "access.log", core) as server:
        yield server, key


@contextlib.contextmanager
def replica(
    endpoint_url: str, files: tuple[Path, Path], log: Path, core: int, *options: str
) -> Iterator[Server]:
    """Run `dynamodb-processor serve` with a catalog, a keys file and further options."""
    catalog, keys = files
    command = [
        *(sys.executable, "-m", "dynamodb_processor_server"),
        *("serve", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"),
        *("--endpoint-url", endpoint_url, "--region", REGION),
        *("--catalog", str(catalog), "--keys", str(keys)),
        *("--rate-classes", json.dumps({"default": _NO_LIMITS})),
        *options,
    ]
    with log.open("wb") as errors, pinned(command, core, stderr=errors) as process:
        said = _serving(process, log)
        yield Server(process, said["address"], said["metrics_port"])


@contextlib.contextmanager
def floor(payload: bytes, directory: Path, core: int) -> Iterator[Server]:
    """Run the bare server that answers with `payload`."""
    file = directory / "payload"
    file.write_bytes(payload)
    with peer("floor.py", str(file), core=core) as server:
        yield server


@contextlib.contextmanager
def peer(script: str, *arguments: str, core: int) -> Iterator[Server]:
    """Run a script of this folder that prints its port."""
    command = [sys.executable, str(_HERE / script), *arguments]
    with pinned(command, core, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield Server(process, f"127.0.0.1:{int(process.stdout.readline())}")


@contextlib.contextmanager
def library(name: str, endpoint_url: str, core: int) -> Iterator[Server]:
    """Run a process that reads DynamoDB with a library, at the word of its standard input."""
    command = [sys.executable, str(_HERE / "peers" / "callers.py"), name, endpoint_url, TABLE]
    with pinned(command, core, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield Server(process, "")


@contextlib.contextmanager
def pinned(command: Sequence[str], core: int, **files: Any) -> Iterator[subprocess.Popen[Any]]:
    """Run a process that has had one core from its first instruction on."""
    own = "DYNAMODB_PROCESSOR_"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    environment |= {
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_DEFAULT_REGION": REGION,
    }
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        process = subprocess.Popen(command, env=environment, **files)
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


def write_files(directory: Path) -> tuple[Path, Path, str]:
    """Write a catalog and a keys file; return their paths, and an API key for the table."""
    key, digest = new_key()
    entry = {"id": "bench-1", "principal": "bench", "digest": digest, "tables": ["bench_*"]}
    catalog, keys = directory / "catalog.yaml", directory / "keys.yaml"
    # No page may expire while it is measured.
    catalog.write_text(yaml.safe_dump({"tables": {TABLE: {"cache_ttl": 3_600}}}))
    keys.write_text(yaml.safe_dump({"keys": [entry]}))
    return catalog, keys, key
