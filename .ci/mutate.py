"""Mutates `query/`, runs its pure tests, and prints the ratio of mutants that they detect.

Run by `make test-deep`; given names such as `*.planner.*`, it runs the mutants of these names only.
mutmut needs one source root with everything that is imported, so the code and its tests are copied
below `build/` first. The tests run without `tests/conftest.py`, which the pure ones do not need.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Final

FLOOR: Final = 85.0  # Per cent of mutants that tests must detect.

_ROOT = Path(__file__).resolve().parent.parent
_WORKSPACE = _ROOT / "build" / "mutation"
_SOURCES = (
    "proto/dynamodb_processor",
    "server/dynamodb_processor_server",
    "clients/python/dynamodb_processor_client",
)
_TESTS = ("cases", "support", "unit/query")
_SETTINGS = """\
[tool.mutmut]
source_paths = ["src"]
only_mutate = ["src/dynamodb_processor_server/query/*.py"]  # fnmatch: folders below too
pytest_add_cli_args_test_selection = ["tests/unit/query"]
# What a test takes is no more than a few times what it took: most of those that outlast it hang.
timeout_multiplier = 5.0
use_git_change_detection = false

[tool.pytest.ini_options]
addopts = ["--import-mode=importlib", "-p", "no:cacheprovider", "-p", "no:asyncio"]
pythonpath = ["."]
"""
# Few examples of each property: as many processes begin anew as there are mutants.
_CONFTEST = """\
from hypothesis import HealthCheck, settings

settings.register_profile(
    "mutation",
    database=None,
    deadline=None,
    derandomize=True,
    max_examples=25,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("mutation")
"""
# mutmut's exit codes of a mutant's tests; all others but None mean that it was detected.
_SURVIVED = {0: "survived", 5: "no tests", 33: "no tests"}
_SKIPPED = 34


def main(names: list[str]) -> int:
    """Run mutants and print the score; return 1 if all were run and too few were detected."""
    if not names:
        shutil.rmtree(_WORKSPACE, ignore_errors=True)
    _prepare()
    command = [sys.executable, "-m", "mutmut", "run", *names]
    with (_WORKSPACE / "mutmut.log").open("w", encoding="utf-8") as log:
        done = subprocess.run(command, cwd=_WORKSPACE, stdout=log, stderr=log, check=False)
    if done.returncode not in (0, 1):
        print(f"mutmut failed; see {log.name}", file=sys.stderr)
        return 1
    score = _report(_WORKSPACE / "mutants")
    return 0 if names or score >= FLOOR else 1


def _prepare() -> None:
    """Copy the mutated code, its imports and its tests."""
    for source in _SOURCES:
        target = _WORKSPACE / "src" / Path(source).name
        shutil.copytree(_ROOT / source, target, dirs_exist_ok=True, ignore=_IGNORED)
    for folder in _TESTS:
        target = _WORKSPACE / "tests" / folder
        shutil.copytree(_ROOT / "tests" / folder, target, dirs_exist_ok=True, ignore=_IGNORED)
    (_WORKSPACE / "pyproject.toml").write_text(_SETTINGS, "utf-8")
    (_WORKSPACE / "tests" / "conftest.py").write_text(_CONFTEST, "utf-8")


_IGNORED = shutil.ignore_patterns("__pycache__")


def _report(mutants: Path) -> float:
    """Print the score of each module, and of all; return the latter."""
    noticed: Counter[str] = Counter()
    total: Counter[str] = Counter()
    survivors: Counter[tuple[str, str]] = Counter()
    for file in sorted(mutants.rglob("*.py.meta")):
        module = file.name.removesuffix(".py.meta")
        for name, code in json.loads(file.read_text("utf-8"))["exit_code_by_key"].items():
            if code is None or code == _SKIPPED:
                continue
            total[module] += 1
            if code in _SURVIVED:
                # To see one: mutmut show dynamodb_processor_server.query.…__mutmut_7
                survivors[name.partition("__mutmut_")[0].split(".query.")[-1], _SURVIVED[code]] += 1
            else:
                noticed[module] += 1
    for (function, kind), number in survivors.items():
        print(f"{function}: {number} {kind}")
    for module, number in total.items():
        print(f"{module:<16} {noticed[module]:>5} of {number:>5} mutants noticed")
    score = 100 * noticed.total() / max(1, total.total())
    print(
        f"mutation score of query/: {score:.1f} % "
        f"({noticed.total()} of {total.total()} mutants noticed; at least {FLOOR:.0f} % wanted)"
    )
    return score


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
