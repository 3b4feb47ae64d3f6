"""`make check-deploy` reports each check, and fails when one of them does."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest

SCRIPT: Final = Path(__file__).parents[3] / ".ci" / "check_deploy.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The script, imported as a module."""
    spec = importlib.util.spec_from_file_location("check_deploy", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["check_deploy"] = module  # dataclasses look the module of a class up
    spec.loader.exec_module(module)
    return module


def python(code: str) -> tuple[str, ...]:
    """Return a command that runs Python code."""
    return (sys.executable, "-c", code)


def check(script: ModuleType, name: str, code: str) -> Any:
    """Return a check whose tool is a piece of Python."""
    return script.Check(name, "snake", python("print('Snake 1.2.3 of today')"), python(code))


def test_a_clean_check_shows_its_version(
    script: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tool's version and "clean" are printed, and the exit code is 0."""
    assert script.main([], [check(script, "quiet", "print('a hint')")]) == 0
    output = capsys.readouterr().out
    assert output.splitlines() == ["==> quiet (snake 1.2.3)", "clean", "make check-deploy: clean"]


def test_a_failed_check_shows_its_output(
    script: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    """The findings are printed, later checks run all the same, and the exit code is 1."""
    failing = check(script, "loud", "import sys; print('a finding'); sys.exit(3)")
    assert script.main([], [failing, check(script, "quiet", "")]) == 1
    printed = capsys.readouterr()
    assert "a finding" in printed.out
    assert "==> quiet (snake 1.2.3)\nclean" in printed.out
    assert printed.err == "make check-deploy: FAILED: loud\n"


def test_a_missing_tool_is_a_failure(
    script: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A check whose program is not installed is never clean."""
    missing = str(tmp_path / "missing")
    assert script.main([], [script.Check("gone", "gone", (missing,), (missing,))]) == 1
    assert f"{missing} is not installed" in capsys.readouterr().out


def test_a_name_narrows_the_run(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """Only the named check runs, and an unknown name is answered with those that there are."""
    checks = [check(script, "one", "import sys; sys.exit(1)"), check(script, "two", "")]
    assert script.main(["two"], checks) == 0
    assert "==> one" not in capsys.readouterr().out
    assert script.main(["three"], checks) == 2
    assert "there are: one, two" in capsys.readouterr().err
