"""Runs every scenario of faults and overload in full, and prints one table of the outcomes.

Run by `make faults`; arguments are passed to pytest. Stages follow one another; the lanes of a
stage run side by side.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

_ROOT: Final = Path(__file__).resolve().parent.parent
_RESULTS: Final = _ROOT / "build" / "faults"
_NONE_SELECTED: Final = 5  # pytest's status, which is no failure when the caller selects tests
_MOST_MINUTES: Final = 30
_WIDTHS: Final = (34, 40, 62)

_SCRIPTED: Final = (
    "tests/faults/test_filtered_megabytes.py",
    "tests/faults/test_lagging_indexes.py",
    "tests/faults/test_shard_splits.py",
    "tests/faults/test_throttled_index.py",
)

#: Paths of tests, by lane, by stage.
_STAGES: Final[tuple[tuple[tuple[str, ...], ...], ...]] = (
    (
        ("tests/faults/test_dynamodb_faults.py", "tests/faults/test_metrics_sink.py"),
        (
            "tests/faults/test_redis_faults.py",
            "tests/faults/test_redis_cluster_faults.py",
            "tests/faults/test_redis_sentinel_faults.py",
        ),
    ),
    (("tests/faults/test_flood.py", "tests/faults/test_untaken_answers.py"),),
    (
        (
            "tests/e2e/test_stream_invalidation.py",
            "tests/e2e/test_tokens.py",
            "tests/e2e/test_tenants.py",
        ),
        (
            "tests/faults/test_races.py",
            *_SCRIPTED,
            "tests/faults/test_key_rotation.py",
            "tests/faults/test_secret_rotation.py",
            "tests/e2e/test_shared_limits.py",
            "tests/faults/test_exports.py",
            "tests/interop",
        ),
    ),
    (("tests/faults/test_overload.py",),),
    (("tests/faults/test_request_sweep.py", "tests/faults/test_planning_fairness.py"),),
    (
        (
            "tests/faults/test_zipf.py",
            "tests/faults/test_item_writes.py",
            "tests/faults/test_stampede.py",
        ),
        ("tests/e2e/test_rolling_restarts.py",),
    ),
    (
        ("tests/faults/test_soak.py",),
        (
            "tests/faults/test_fuzzing.py",
            "tests/gateway/test_transcoding.py",
            "tests/gateway/test_replicas.py",
            "tests/unit/cache/test_model.py",
            "tests/unit/cache/test_shared_model.py",
            "tests/faults/test_large_items.py",
        ),
        ("tests/faults/test_outage.py",),  # five minutes, of which it waits nearly all
    ),
)


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of the table."""

    scenario: str
    asked: str
    measured: str
    passed: bool


class _Lane:
    """One pytest, with its output in a file beside its results."""

    def __init__(self, name: str, paths: tuple[str, ...], arguments: list[str]) -> None:
        self.paths = paths
        self.log = _RESULTS / f"{name}.log"
        self._results = _RESULTS / f"{name}.xml"
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "pytest", *paths, f"--junitxml={self._results}"),
                    *("-o", "timeout=1500", "-o", "junit_family=xunit1", *arguments),
                ],
                cwd=_ROOT,
                env=os.environ | {"FAULTS": "full"},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def end(self, *, selected: bool) -> list[_Line]:
        """Wait for its end; return its lines of the table."""
        status = self._process.wait()
        lines = list(_lines(self._results)) if self._results.exists() else []
        allowed = {0, _NONE_SELECTED} if selected else {0}
        if status not in allowed and all(line.passed for line in lines):
            lines.append(_Line(" ".join(self.paths), "", f"pytest ended with {status}", False))
        return lines

    def stop(self) -> None:
        """End it now, if it still runs."""
        self._process.terminate()
        self._process.wait()


def _lines(results: Path) -> Iterator[_Line]:
    """Yield a line for each test that reports, failed, or was left out."""
    tree = ElementTree.parse(results)  # noqa: S314 - written by the pytest that has just ended
    for case in tree.iter("testcase"):
        properties = {each.get("name", ""): each.get("value", "") for each in case.iter("property")}
        failures = [each for kind in ("failure", "error", "skipped") for each in case.iter(kind)]
        if not properties and not failures:
            continue
        measured = properties.get("measured", "")
        if failures:
            measured += " | " + (failures[0].get("message") or "failed").partition("\n")[0]
        name = properties.get("scenario") or str(case.get("name"))
        yield _Line(name, properties.get("asked", ""), measured.strip(" |"), not failures)


def main(arguments: list[str]) -> int:
    """Run every stage and print the table; return 0 if all is well, else 1."""
    _RESULTS.mkdir(parents=True, exist_ok=True)
    for old in _RESULTS.iterdir():
        old.unlink()
    began = time.monotonic()
    table: list[_Line] = []
    for number, stage in enumerate(_STAGES, 1):
        print(f"==> {' beside '.join(' and '.join(paths) for paths in stage)}", flush=True)
        lanes = [_Lane(f"{number}-{lane}", paths, arguments) for lane, paths in enumerate(stage, 1)]
        try:
            for lane in lanes:
                table += lane.end(selected=bool(arguments))
        finally:
            for lane in lanes:
                lane.stop()
    _show(table)
    failed = sum(not line.passed for line in table)
    minutes = (time.monotonic() - began) / 60
    print(f"{len(table)} scenarios, {failed} failed, in {minutes:.1f} minutes")
    if minutes > _MOST_MINUTES:
        print(f"make faults: more than {_MOST_MINUTES} minutes", file=sys.stderr)
        return 1
    if failed:
        print(f"make faults: FAILED, see {_RESULTS.relative_to(_ROOT)}/", file=sys.stderr)
    return 1 if failed else 0


def _show(table: list[_Line]) -> None:
    rule = "-" * (sum(_WIDTHS) + 10)
    print(rule)
    for line in (_Line("scenario", "asked", "measured", True), *table):
        heading = line.scenario == "scenario"
        outcome = "" if heading else ("pass" if line.passed else "FAIL")
        columns = [
            textwrap.wrap(text, width) or [""]
            for text, width in zip((line.scenario, line.asked, line.measured), _WIDTHS, strict=True)
        ]
        for row in range(max(map(len, columns))):
            cells = [
                (column[row] if row < len(column) else "").ljust(width)
                for column, width in zip(columns, _WIDTHS, strict=True)
            ]
            print("  ".join([*cells, outcome if row == 0 else ""]).rstrip())
        if heading:
            print(rule)
    print(rule)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
