"""Runs the tests, two suites at a time, and prints what most of them cover of the server.

Run by `make test`. Arguments are handed to pytest; with any, no coverage is demanded. A suite's
test process mostly waits for the servers it started and these for it, so a second suite beside it
costs little time. The first lane is printed as it runs; when it has ended, what the second one has
printed follows, and then the rest of that as it runs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

FLOOR: Final = 90  # per cent of the server's lines that all tests together must run

_ROOT: Final = Path(__file__).resolve().parent.parent
_DATA: Final = _ROOT / "build" / "coverage"
_COVERAGE: Final = (sys.executable, "-m", "coverage")
_NONE_SELECTED: Final = 5  # pytest's status, which is no failure when the caller narrows


@dataclass(frozen=True, slots=True)
class _Suite:
    """Tests that one pytest runs; `measured_as` is the figure that their coverage is part of."""

    places: tuple[str, ...]
    measured_as: str | None

    def start(self, arguments: list[str], output: IO[str] | None) -> subprocess.Popen[str]:
        """Start its pytest. Every process of it writes its part of the coverage beside others'."""
        print(f"==> {' and '.join(self.places)}", file=output, flush=True)
        command = ["-m", "pytest", *self.places, *arguments]
        measured = {}
        if self.measured_as:
            command = ["-m", "coverage", "run", *command]
            measured = {"COVERAGE_FILE": str(_DATA / self.measured_as / "part")}
        return subprocess.Popen(
            [sys.executable, *command],
            cwd=_ROOT,
            env=os.environ | measured,
            stdout=output,
            stderr=output and subprocess.STDOUT,
            text=True,
        )


_FIRST_LANE: Final = (
    _Suite(("tests/unit",), "unit"),
    _Suite(("tests/contract", "tests/rpc"), "integration"),
)
# Thousands of comparisons of whole answers run the same lines as the other suites, and would take
# half as long again if each line were counted.
_SECOND_LANE: Final = _Suite(("tests/e2e", "tests/faults", "tests/interop"), None)


def main(arguments: list[str]) -> int:
    """Run every suite and report; return 0 if all is well, else 1."""
    shutil.rmtree(_DATA, ignore_errors=True)
    for name in ("unit", "integration"):
        (_DATA / name).mkdir(parents=True)
    allowed = {0, _NONE_SELECTED} if arguments else {0}
    passed = all(status in allowed for status in list(_run(arguments)))
    passed = _report(0 if arguments else FLOOR) and passed
    if not passed:
        print("make test: FAILED", file=sys.stderr)
    return 0 if passed else 1


def _run(arguments: list[str]) -> Iterator[int]:
    """Run both lanes; yield the status of each suite."""
    log = _DATA / "second-lane.log"
    with log.open("w", encoding="utf-8") as output:
        print(f"==> {' and '.join(_SECOND_LANE.places)} run beside, printed below", flush=True)
        beside = _SECOND_LANE.start(arguments, output)
        try:
            for suite in _FIRST_LANE:
                yield suite.start(arguments, None).wait()
            yield _follow(beside, log)
        finally:
            # On Ctrl-C the terminal has told it as well; this is for every other way out.
            beside.terminate()
            beside.wait()


def _follow(process: subprocess.Popen[str], log: Path) -> int:
    """Print what a process has written to its log, and what it goes on writing until it ends."""
    with log.open(encoding="utf-8", errors="replace") as written:
        while True:
            status = process.poll()
            sys.stdout.write(written.read())
            sys.stdout.flush()
            if status is not None:
                return status
            time.sleep(0.5)


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
