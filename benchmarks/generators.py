"""The two sources of load.

k6, written in Go, loads every server. It shares a core with the stub of DynamoDB; the server has
another one. k6 costs more than a cache hit does and leaves the server idle in between. So hits and
the floor are measured once more under `Frames`, which keeps the server's core busy. h2load would be
fast enough as well, but it sends one body in all calls.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final, Literal

from frames import Call, make_calls
from google.protobuf.json_format import MessageToDict

from dynamodb_processor.v1.query_service_pb2 import BatchGetItemsRequest, QueryRequest

_CONNECTIONS: Final = 5
_SERVICE: Final = "dynamodb_processor.v1.QueryService"
#: The methods of unary calls.
METHOD: Final = f"/{_SERVICE}/Query"
GET_METHOD: Final = f"/{_SERVICE}/BatchGetItems"
_HERE: Final = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Load:
    """A kind of calls, and their requests.

    `schedule` has the numbers of the requests in the order of the calls. Without one, each call is
    the first request for a user whom no call has named before. `path` is for HTTP.
    """

    kind: Literal["unary", "stream", "http"]
    requests: Sequence[QueryRequest]
    schedule: Sequence[int] = ()
    path: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a run. The median and the 99th percentile are None for streams."""

    calls: int
    calls_per_second: float
    p50_ms: float | None = None
    p99_ms: float | None = None


class K6:
    """Loads a server with one kind of calls. `directory` takes the files of k6."""

    def __init__(self, load: Load, key: str, directory: Path) -> None:
        self._load = load
        self._file = directory / f"load-{id(self)}.json"
        self._summary = directory / f"summary-{id(self)}.json"
        self._runs = count()
        requests = [_as_json(request) for request in load.requests]
        content = {
            "kind": load.kind,
            "key": key,
            "path": load.path,
            "requests": requests,
            "schedule": list(load.schedule),
            "template": json.dumps(requests[0]),
        }
        self._file.write_text(json.dumps(content))

    def run(self, target: str, callers: int, seconds: float) -> Outcome:
        """Keep `callers` calls in flight for some seconds.

        Raises SystemExit if a call fails.
        """
        variables = {
            "CONNECTIONS": _CONNECTIONS,
            "IN_FLIGHT": callers // _CONNECTIONS,
            "LOAD": self._file,
            "METHOD": f"{_SERVICE}/{'StreamQuery' if self._load.kind == 'stream' else 'Query'}",
            "PROTO": _HERE.parent / "proto",
            "RUN": f"{id(self)}-{next(self._runs)}",
            "SECONDS": seconds,
            "SUMMARY": self._summary,
            "TARGET": target,
        }
        command = [
            str(Path(sys.executable).parent / "k6"),
            *("run", "--quiet", "--no-usage-report", "--address", ""),
            *(part for name, value in variables.items() for part in ("-e", f"{name}={value}")),
            str(_HERE / "k6.js"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
        if done.returncode:
            raise SystemExit(f"k6 failed:\n{done.stdout}\n{done.stderr}")
        return self._outcome(json.loads(self._summary.read_text()), seconds)

    def _outcome(self, summary: dict[str, Any], seconds: float) -> Outcome:
        metrics = summary["metrics"]
        if "failures" in metrics:
            raise SystemExit(f"{metrics['failures']['values']['count']} calls failed")
        calls = int(metrics["answers"]["values"]["count"])
        # The last calls end after the time, on whole streams even more so.
        elapsed = max(seconds, metrics["iteration_duration"]["values"]["med"] / 1e3)
        name = "http_req_duration" if self._load.kind == "http" else "grpc_req_duration"
        duration = metrics.get(name, {}).get("values", {})
        return Outcome(calls, calls / elapsed, duration.get("med"), duration.get("p(99)"))


class Frames:
    """Loads a server with unary calls, by this project's own generator in this process.

    `schedule` has the numbers of the requests in the order of the calls.
    k6 costs more than a bare server does and leaves it idle in between. This one keeps it busy.
    """

    def __init__(
        self,
        requests: Sequence[QueryRequest | BatchGetItemsRequest],
        schedule: Sequence[int],
        key: str,
        method: str = METHOD,
    ) -> None:
        messages = [request.SerializeToString() for request in requests]
        metadata = (("user-agent", "benchmark"), ("x-api-key", key))
        bodies = [messages[rank] for rank in schedule]
        self._call = Call(method, metadata, bodies)

    def run(self, target: str, callers: int, seconds: float) -> Outcome:
        """Keep `callers` calls in flight for some seconds."""
        made = make_calls(
            target,
            self._call,
            connections=_CONNECTIONS,
            in_flight=callers // _CONNECTIONS,
            seconds=seconds,
        )
        ordered = sorted(made.latencies)
        return Outcome(
            calls=len(ordered),
            calls_per_second=len(ordered) / made.elapsed,
            p50_ms=ordered[len(ordered) // 2] * 1e3,
            p99_ms=ordered[len(ordered) * 99 // 100] * 1e3,
        )


def _as_json(request: QueryRequest) -> dict[str, Any]:
    return MessageToDict(request, preserving_proto_field_name=True)
