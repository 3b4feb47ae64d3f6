"""The two sources of load.

`Frames` provides the figures: it costs a quarter of the server's CPU, so that the server's core is
busy throughout. k6 costs more than the floor does and leaves the server idle in between; it checks
with another project's generator that CPU per call comes out the same. h2load would be fast enough,
but sends one body in all calls.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from frames import Call, make_calls
from google.protobuf.json_format import MessageToDict

from dynamodb_processor.v1.query_service_pb2 import QueryRequest

CALLERS: Final = 50
_CONNECTIONS: Final = 5
_METHOD: Final = "dynamodb_processor.v1.QueryService/Query"
_HERE: Final = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a run."""

    calls: int
    calls_per_second: float
    p50_ms: float
    p99_ms: float


class Generator(Protocol):
    """Keeps CALLERS calls under way for some seconds."""

    def run(self, target: str, seconds: float) -> Outcome:
        """Load a server. Raise an error if a call fails."""
        ...


class Frames:
    """This project's own generator, in this process."""

    def __init__(self, key: str, requests: Sequence[QueryRequest], schedule: Sequence[int]) -> None:
        messages = [request.SerializeToString() for request in requests]
        metadata = (("user-agent", "benchmark"), ("x-api-key", key))
        self._call = Call(f"/{_METHOD}", metadata, [messages[rank] for rank in schedule])

    def run(self, target: str, seconds: float) -> Outcome:
        """Load a server."""
        made = make_calls(
            target,
            self._call,
            connections=_CONNECTIONS,
            in_flight=CALLERS // _CONNECTIONS,
            seconds=seconds,
        )
        ordered = sorted(made.latencies)
        return Outcome(
            calls=len(ordered),
            calls_per_second=len(ordered) / made.elapsed,
            p50_ms=ordered[len(ordered) // 2] * 1e3,
            p99_ms=ordered[len(ordered) * 99 // 100] * 1e3,
        )


class K6:
    """k6, each caller on a connection of its own. `directory` takes its files."""

    def __init__(
        self,
        key: str,
        requests: Sequence[QueryRequest],
        schedule: Sequence[int],
        directory: Path,
    ) -> None:
        self._load = directory / "load.json"
        self._summary = directory / "summary.json"
        content = {"key": key, "requests": [_as_json(r) for r in requests], "schedule": schedule}
        self._load.write_text(json.dumps(content))

    def run(self, target: str, seconds: float) -> Outcome:
        """Load a server."""
        variables = {
            "LOAD": str(self._load),
            "METHOD": _METHOD,
            "PROTO": str(_HERE.parent / "proto"),
            "SUMMARY": str(self._summary),
            "TARGET": target,
        }
        command = [
            str(Path(sys.executable).parent / "k6"),
            *("run", "--quiet", "--no-usage-report", "--address", ""),
            *("--vus", str(CALLERS), "--duration", f"{seconds}s"),
            *(part for name, value in variables.items() for part in ("-e", f"{name}={value}")),
            str(_HERE / "k6.js"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            raise SystemExit(f"k6 failed:\n{done.stdout}\n{done.stderr}")
        metrics = json.loads(self._summary.read_text())["metrics"]
        duration = metrics["grpc_req_duration"]["values"]
        return Outcome(
            calls=int(duration["count"]),
            calls_per_second=metrics["iterations"]["values"]["rate"],
            p50_ms=duration["med"],
            p99_ms=duration["p(99)"],
        )


def _as_json(request: QueryRequest) -> dict[str, Any]:
    return MessageToDict(request, preserving_proto_field_name=True)
