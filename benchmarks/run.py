"""The cost of the service above gRPC itself: server CPU for each cached unary call.

Compared are the service as shipped (authentication, limits, JSON access log to a file, metrics) and
a bare `grpc.aio` server that answers with a page's bytes. Both run on uvloop, on the same core; the
load comes from another one. Runs alternate, so that other load on the machine affects both. 1,000
different requests are drawn by Zipf's law, 30 % of the calls with a page token.

The figure is the ratio of the medians of CPU time per call: user and system, all of the server's
threads. It does not depend on the load generator's speed, as the throughput does on a machine with
other load.

Writes build/bench.json. Fails when a call was no cache hit, or when the ratio is too low.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Final

import grpc
import uvloop
import workload
from generators import CALLERS, K6, Frames, Generator, Outcome
from servers import REGION, Server, floor, service

from dynamodb_processor.v1.query_service_pb2 import QueryRequest
from dynamodb_processor.v1.query_service_pb2_grpc import QueryServiceStub
from dynamodb_processor_server.demo.dynamodb_local import dynamodb_local

_REPORT: Final = Path(__file__).resolve().parent.parent / "build" / "bench.json"
_DEMANDED: Final = 0.65
_WARM_SECONDS: Final = 2


@dataclass(frozen=True, slots=True)
class Plan:
    """How often and for how long each server is run with a generator."""

    runs: int
    seconds: int


_PLANS: Final = {"frames": Plan(runs=7, seconds=7), "k6": Plan(runs=3, seconds=5)}


@dataclass(frozen=True, slots=True)
class Run:
    """One run against one server; `busy` is the share of its core that the server used."""

    outcome: Outcome
    cpu_us_per_call: float
    busy: float


# By generator and by server.
_Runs = Mapping[str, Mapping[str, Sequence[Run]]]


def main() -> int:
    """Measure, print and write; return the exit code."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("two cores are needed: one for the server, one for the load")
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # The servers end, too.
    server_core, load_core = cores[:2]
    os.sched_setaffinity(0, {load_core})  # For the processes of this process as well.
    with tempfile.TemporaryDirectory(prefix="dynamodb-processor-bench-") as directory:
        runs, page_bytes = _measure(Path(directory), server_core)
    report = _report(runs) | {
        "load": _load() | {"page_bytes": page_bytes},
        "environment": _environment() | {"server_core": server_core, "load_core": load_core},
    }
    _REPORT.parent.mkdir(exist_ok=True)
    _REPORT.write_text(json.dumps(report, indent=2) + "\n")
    _print_table(runs["frames"])
    ratios = report["ratios"]
    for name, ratio in ratios.items():
        print(f"{name:28}{ratio:.3f}")
    print(f"hit_vs_floor is to be {_DEMANDED} or more")
    return 0 if ratios["hit_vs_floor"] >= _DEMANDED else 1


def _measure(directory: Path, core: int) -> tuple[_Runs, int]:
    """Return the runs and the size of an answer in bytes."""
    with dynamodb_local() as endpoint_url:
        print("filling the table", flush=True)
        workload.load_table(endpoint_url, REGION)
        with service(endpoint_url, directory, core) as (served, key):
            print("filling the cache", flush=True)
            requests, payload = uvloop.run(_warm(served.target, key))
            schedule = workload.schedule()
            generators: dict[str, Generator] = {
                "frames": Frames(key, requests, schedule),
                "k6": K6(key, requests, schedule, directory),
            }
            with floor(payload, directory, core) as bare:
                runs = {
                    name: _alternate(name, generator, (bare, served))
                    for name, generator in generators.items()
                }
                return runs, len(payload)


async def _warm(target: str, key: str) -> tuple[list[QueryRequest], bytes]:
    """Put every page in the cache; return the requests by rank and an answer of the usual size."""
    requests: list[QueryRequest] = []
    second_pages = workload.second_page_ranks()
    metadata = (("x-api-key", key),)
    async with grpc.aio.insecure_channel(target) as channel:
        stub = QueryServiceStub(channel)
        for rank, request in enumerate(workload.first_pages()):
            if rank in second_pages:
                answer = await stub.Query(request, metadata=metadata)
                request.page_token = answer.next_page_token
            requests.append(request)
        for request in requests:
            await stub.Query(request, metadata=metadata)
        answers = [await stub.Query(request, metadata=metadata) for request in requests]
    if any(len(answer.items) != workload.PAGE_SIZE for answer in answers):
        raise SystemExit("not every page is full")
    answers.sort(key=lambda answer: answer.ByteSize())
    return requests, answers[len(answers) // 2].SerializeToString()


def _alternate(name: str, generator: Generator, servers: Sequence[Server]) -> dict[str, list[Run]]:
    plan = _PLANS[name]
    for server in servers:
        generator.run(server.target, _WARM_SECONDS)
    runs: dict[str, list[Run]] = {server.name: [] for server in servers}
    for number in range(1, plan.runs + 1):
        for server in servers:
            run = _run(generator, server, plan.seconds)
            runs[server.name].append(run)
            print(
                f"{name:6} {number}/{plan.runs}  {server.name:8}{run.cpu_us_per_call:7.1f} us/call"
                f"{run.outcome.calls_per_second:8.0f} calls/s  {run.busy:4.0%} busy",
                flush=True,
            )
    return runs


def _run(generator: Generator, server: Server, seconds: int) -> Run:
    """Run a generator against a server, and check that every call was a cache hit."""
    reads, cpu, started = server.reads(), server.cpu_seconds(), time.monotonic()
    outcome = generator.run(server.target, seconds)
    used, elapsed = server.cpu_seconds() - cpu, time.monotonic() - started
    made = server.reads() - reads
    if server.metrics_port is not None and dict(made) != {"HIT": outcome.calls}:
        raise SystemExit(f"{outcome.calls} calls should have been hits; counted were {dict(made)}")
    return Run(outcome, used / outcome.calls * 1e6, used / elapsed)


def _report(runs: _Runs) -> dict[str, Any]:
    cpu = {
        generator: {name: median(run.cpu_us_per_call for run in all_) for name, all_ in by.items()}
        for generator, by in runs.items()
    }
    rate = {
        name: median(run.outcome.calls_per_second for run in all_)
        for name, all_ in runs["frames"].items()
    }
    return {
        "ratios": {
            "hit_vs_floor": round(cpu["frames"]["floor"] / cpu["frames"]["service"], 4),
            "hit_vs_floor_by_k6": round(cpu["k6"]["floor"] / cpu["k6"]["service"], 4),
            "hit_vs_floor_throughput": round(rate["service"] / rate["floor"], 4),
        },
        "medians": {"cpu_us_per_call": cpu["frames"], "calls_per_second": rate},
        "runs": {
            generator: {name: [asdict(run) for run in all_] for name, all_ in by.items()}
            for generator, by in runs.items()
        },
    }


def _load() -> dict[str, Any]:
    return {
        "requests": workload.REQUESTS,
        "zipf": workload.ZIPF,
        "token_share": workload.TOKEN_SHARE,
        "items_per_page": workload.PAGE_SIZE,
        "callers": CALLERS,
        "seed": workload.SEED,
        "plans": {name: asdict(plan) for name, plan in _PLANS.items()},
    }


def _environment() -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "grpcio": grpc.__version__,
        "uvloop": version("uvloop"),
    }


def _print_table(runs: Mapping[str, Sequence[Run]]) -> None:
    print(f"\n{'':28}{'median':>10}{'min':>10}{'max':>10}")
    for server, all_ in runs.items():
        figures = {
            "CPU us/call": [run.cpu_us_per_call for run in all_],
            "calls/s": [run.outcome.calls_per_second for run in all_],
            "p99 ms": [run.outcome.p99_ms for run in all_],
        }
        for name, values in figures.items():
            row = "".join(f"{value:10.1f}" for value in (median(values), min(values), max(values)))
            print(f"{server:10}{name:18}{row}")
    print()


if __name__ == "__main__":
    sys.exit(main())
