"""Runs the tests, three suites at a time, and prints most suites' coverage of the server.

Run by `make test`. Arguments are passed to pytest; with any, no coverage is demanded. Suites often
wait for servers, timeouts and faults to pass, so two at a time leave a quarter of two cores idle.
Each of three lanes takes the next suite when it has ended one. The output is shown suite by suite:
that of the first one as it runs, that of each other one when those before it have ended.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FLOOR: Final = 90  # Per cent of the server's lines that all tests together must run.

_ROOT: Final = Path(__file__).resolve().parent.parent
_DATA: Final = _ROOT / "build" / "coverage"
_LOGS: Final = _ROOT / "build" / "test"
# Each process of the tests imports the module in the first folder, which records the AWS actions
# that the product's requests need in files in the second one.
_RECORDER: Final = _ROOT / "tests" / "support" / "action_recorder"
_ACTIONS: Final = _ROOT / "build" / "actions"
_LANES: Final = 3
_COVERAGE: Final = (sys.executable, "-m", "coverage")
_NONE_SELECTED: Final = 5  # pytest's status, which is no failure when the caller selects tests


@dataclass(frozen=True, slots=True)
class _Suite:
    """Tests that one pytest runs; `measured_as` is the figure that their coverage is part of."""

    paths: tuple[str, ...]
    measured_as: str | None = None
    without: tuple[str, ...] = ()

    @property
    def log(self) -> Path:
        """The file that its pytest prints to."""
        return _LOGS / f"{self.paths[0].removeprefix('tests/').replace('/', '-')}.log"

    def start(self, arguments: list[str]) -> subprocess.Popen[bytes]:
        """Start its pytest. Every process of it writes its part of the coverage beside others'."""
        ignored = (f"--ignore={path}" for path in self.without)
        color = f"--color={'yes' if sys.stdout.isatty() else 'no'}"
        command = ["-m", "pytest", *self.paths, *ignored, color, *arguments]
        measured = {}
        if self.measured_as:
            command = ["-m", "coverage", "run", *command]
            measured = {"COVERAGE_FILE": str(_DATA / self.measured_as / "part")}
        with self.log.open("wb") as output:
            return subprocess.Popen(
                [sys.executable, *command],
                cwd=_ROOT,
                env=os.environ | _recording() | measured,
                stdout=output,
                stderr=subprocess.STDOUT,
            )


def _recording() -> dict[str, str]:
    """Return the variables with which a process records its actions."""
    others = os.environ.get("PYTHONPATH", "")
    path = os.pathsep.join(filter(None, (str(_RECORDER), others)))
    return {"PYTHONPATH": path, "RECORDED_ACTIONS": str(_ACTIONS)}


# Coverage can triple the processor time of the server's code, so it is measured where tests are
# meant to reach every line. The client is no part of the server; random schedules, conditions and
# thousands of compared answers run the same lines again and again.
_UNMEASURED: Final = (
    "tests/unit/client",
    "tests/unit/cache/test_model.py",
    "tests/unit/cache/test_session_model.py",
    "tests/unit/cache/test_shared_model.py",
    "tests/unit/change_streams/test_election_schedules.py",
    "tests/unit/dynamodb/test_partition_merge.py",
    "tests/unit/query/expression/test_formatter.py",
    "tests/unit/query/planning/test_composed_keys.py",
    "tests/rpc/test_attacker.py",
)
# Suites of their own, since no lane should have end-to-end tests for a quarter of an hour.
_OPERATIONS: Final = (
    "tests/e2e/test_cloudformation.py",
    "tests/e2e/test_cloudwatch.py",
    "tests/e2e/test_cost_examples.py",
    "tests/e2e/test_demo.py",
    "tests/e2e/test_quick_start.py",
)
_ACCEPTANCE: Final = ("tests/e2e/test_acceptance.py", "tests/e2e/test_tenants.py")
# The longest come first, so that the lanes end together.
_SUITES: Final = (
    _Suite(("tests/e2e",), without=(*_OPERATIONS, *_ACCEPTANCE)),
    _Suite(("tests/contract", *_UNMEASURED)),
    _Suite(("tests/faults", "tests/interop")),
    _Suite(("tests/unit",), "unit", without=_UNMEASURED),
    _Suite(("tests/rpc",), "integration", without=_UNMEASURED),
    _Suite(_OPERATIONS),
    _Suite(("tests/gateway", "tests/browser")),
    _Suite(_ACCEPTANCE),
)


def main(arguments: list[str]) -> int:
    """Run every suite and report; return 0 if all is well, else 1."""
    for folder in (_DATA, _LOGS, _ACTIONS):
        shutil.rmtree(folder, ignore_errors=True)
    for folder in (_DATA / "unit", _DATA / "integration", _LOGS, _ACTIONS):
        folder.mkdir(parents=True)
    allowed = {0, _NONE_SELECTED} if arguments else {0}
    passed = set(_Lanes(arguments).run()) <= allowed
    passed = _compare_actions(["--some"] if arguments else []) and passed
    passed = _report(0 if arguments else FLOOR) and passed
    if not passed:
        print("make test: FAILED", file=sys.stderr)
    return 0 if passed else 1


class _Lanes:
    """Runs the suites, so many at a time, each lane the next one that no lane has taken."""

    def __init__(self, arguments: list[str]) -> None:
        self._arguments = arguments
        self._started: list[subprocess.Popen[bytes]] = []

    def run(self) -> list[int]:
        """Run them all and print their output in their order; return their statuses."""
        statuses = []
        try:
            for number, suite in enumerate(_SUITES):
                self._fill()
                print(f"==> {' and '.join(suite.paths)}", flush=True)
                statuses.append(self._follow(self._started[number], suite.log))
        finally:
            # On Ctrl-C the terminal has signalled them as well; this is for every other way out.
            for process in self._started:
                process.terminate()
                process.wait()
        return statuses

    def _fill(self) -> None:
        """Start suites while a lane is free."""
        while len(self._started) < len(_SUITES):
            if sum(process.poll() is None for process in self._started) >= _LANES:
                return
            self._started.append(_SUITES[len(self._started)].start(self._arguments))

    def _follow(self, process: subprocess.Popen[bytes], log: Path) -> int:
        """Print a process's output until it ends; fill the lanes meanwhile."""
        with log.open(encoding="utf-8", errors="replace") as printed:
            while True:
                status = process.poll()
                sys.stdout.write(printed.read())
                sys.stdout.flush()
                if status is not None:
                    return status
                self._fill()
                time.sleep(0.5)


def _compare_actions(options: list[str]) -> bool:
    """Compare the recorded actions with those of the roles; return whether they are the same."""
    print("==> AWS actions of the roles in deploy/cloudformation", flush=True)
    command = [sys.executable, ".ci/deploy/cfn_actions.py", str(_ACTIONS), *options]
    return subprocess.run(command, cwd=_ROOT, check=False).returncode == 0


def _report(floor: int) -> bool:
    """Print the coverage of the suites, apart and together; return whether it is enough."""
    print("==> coverage of the server", flush=True)
    files = {name: f"{_DATA / name}.data" for name in ("unit", "integration", "together")}
    for name in ("unit", "integration"):
        parts = map(str, (_DATA / name).glob("part.*"))
        _coverage("combine", "--quiet", f"--data-file={files[name]}", *parts)
    _coverage("combine", "--quiet", "--keep", f"--data-file={files['together']}",
              files["unit"], files["integration"])  # fmt: skip
    enough = _coverage("report", f"--data-file={files['together']}", f"--fail-under={floor}")
    for name, file in files.items():
        print(f"{name:<12}", end=" ", flush=True)
        _coverage("report", "--format=total", f"--data-file={file}")
    return enough


def _coverage(*arguments: str) -> bool:
    return subprocess.run([*_COVERAGE, *arguments], cwd=_ROOT, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
