"""The cost of the service beside its peers: one run of everything, in at most 20 minutes.

Every server and library is a process on one core; the load and a stub of DynamoDB have another
core. All run in turn, round after round, so that other load on the machine affects all of them. The
figures are CPU per call: user and system, of all threads of the process. Ratios are those of
medians.

Writes build/bench.json and two plots beside it, and with `--document` docs/performance.md and its
plots. Prints every figure, and whether each target holds. The exit code is 1 where one is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import document
import items
import ladder
import memory
import workload
from figures import Figure
from report import Samples, peers_as_json, print_figures
from servers import peer, pinned
from subjects import Sample, Subject, Subjects
from targets import Result, compare, print_results

_HERE: Final = Path(__file__).resolve().parent
_ROOT: Final = _HERE.parent
_REPORT: Final = _ROOT / "build" / "bench.json"
_ROUNDS: Final = 7
_SWEEP_ROUNDS: Final = 3  # of numbers of callers that no target is about
_SECONDS: Final = 1.5
_PACKAGES: Final = ("grpcio", "uvloop", "aiobotocore", "boto3", "aiodynamo", "pynamodb", "fastapi")
_COMPARED_SWEEPS: Final = ("hit", "miss")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--document", action="store_true", help="also write docs/performance.md")
    args = parser.parse_args(arguments)
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("two cores are needed: one for the server, one for the load")
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # the servers end, too
    server_core, load_core = cores[:2]
    os.sched_setaffinity(0, {load_core})  # also for the processes of this process
    report, results = _run(server_core, load_core)
    print_results(results)
    _REPORT.parent.mkdir(exist_ok=True)
    _REPORT.write_text(json.dumps(report, indent=2) + "\n")
    document.write_plots(report, _REPORT.parent)
    if args.document:
        document.write_page(report)
    print(f"{_REPORT.relative_to(_ROOT)} has all figures")
    return 0 if all(result.holds for result in results) else 1


def _run(server_core: int, load_core: int) -> tuple[dict[str, Any], list[Result]]:
    """Measure everything; return the report and the results."""
    began, load_before = time.monotonic(), os.getloadavg()
    rungs = ladder.measure(server_core, load_core)
    ladder.print_ladder(rungs)
    with (
        tempfile.TemporaryDirectory(prefix="dynamodb-processor-bench-") as directory,
        ExitStack() as stack,
    ):
        stub = stack.enter_context(peer("stub.py", core=load_core))
        endpoint_url = f"http://{stub.target}"
        figures = _preparation(endpoint_url, server_core)
        subjects = Subjects(stack, endpoint_url, Path(directory), server_core)
        started = subjects.start()
        samples = _measure(started)
        figures |= memory.measure(endpoint_url, Path(directory), server_core)
        figures |= items.measure(endpoint_url, Path(directory), server_core)
    figures |= _figures(samples, started)
    print_figures(samples, subjects.idle_bytes)
    results = compare(figures)
    environment = _environment() | {
        "page_bytes": subjects.page_bytes,
        "load_average": [load_before, os.getloadavg()],
        "minutes": round((time.monotonic() - began) / 60, 1),
    }
    report = {
        "ratios": {result.target.name: result.as_json() for result in results},
        "peers": peers_as_json(samples),
        "cpu_us": {name: figure.as_json() for name, figure in figures.items()},
        "ladder": {name: Figure(values).as_json() for name, values in rungs.items()},
        "usual_callers": {subject.name: subject.usual for subject in started},
        "idle_resident_bytes": subjects.idle_bytes,
        "environment": environment,
    }
    return report, results


def _preparation(endpoint_url: str, core: int) -> dict[str, Figure]:
    """Return the CPU of preparing queries, which is measured in a process of its own."""
    command = [sys.executable, str(_HERE / "preparing.py"), endpoint_url, str(_ROUNDS)]
    with pinned(command, core, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        figures = json.loads(process.stdout.read())
    return {name: Figure(values) for name, values in figures.items()}


def _measure(subjects: Sequence[Subject]) -> Samples:
    """Run the subjects in turn; the first round warms up."""
    samples: dict[tuple[str, int], list[Sample]] = defaultdict(list)
    for number in range(_ROUNDS + 1):
        for subject in subjects:
            for callers in subject.levels:
                compared = callers == subject.usual or subject.name in _COMPARED_SWEEPS
                if not (compared or 0 < number <= _SWEEP_ROUNDS):
                    continue
                sample = subject.measure(callers, _SECONDS)
                if number:
                    samples[subject.name, callers].append(sample)
                    if callers == subject.usual:
                        _print_sample(number, subject.name, sample)
    return samples


def _print_sample(number: int, name: str, sample: Sample) -> None:
    print(
        f"{number}/{_ROUNDS}  {name:18}{sample.cpu_us_per_call:10.1f} us/call"
        f"{sample.outcome.calls_per_second:8.0f} calls/s  {sample.busy:4.0%} busy",
        flush=True,
    )


def _figures(samples: Samples, subjects: Sequence[Subject]) -> dict[str, Figure]:
    """Return the CPU per call, by subject alone for its usual number of callers."""
    figures = {
        f"{name}@{callers}": Figure([sample.cpu_us_per_call for sample in all_])
        for (name, callers), all_ in samples.items()
    }
    usual = {subject.name: figures[f"{subject.name}@{subject.usual}"] for subject in subjects}
    return figures | usual


def _environment() -> dict[str, Any]:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607 - a report only
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "commit": commit.stdout.strip(),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "k6": version("k6"),
        "packages": {name: version(name) for name in _PACKAGES},
        "rounds": _ROUNDS,
        "seconds": _SECONDS,
        "zipf": workload.ZIPF,
        "token_share": workload.TOKEN_SHARE,
    }


if __name__ == "__main__":
    sys.exit(main())
