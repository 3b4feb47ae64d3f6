"""The check of prose finds the intended places, in samples written for it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

SCRIPT: Final = Path(__file__).parents[2] / ".ci" / "prose.py"
CLEAN: Final = '"""Returns the pages of a table."""\n\nPAGES = 3  # A page has three items.\n'
# In strings, which the check leaves out.
WORD: Final = "verdict"
PRONOUN: Final = "whoever"


@pytest.fixture(scope="module")
def prose() -> ModuleType:
    """The script, imported as a module."""
    spec = importlib.util.spec_from_file_location("prose", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small project without a fault."""
    for name in ("server", "clients/python", "tests", "docs"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "server" / "pages.py").write_text(CLEAN, encoding="utf-8")
    (tmp_path / "README.md").write_text("# Pages\n\nIt reads pages.\n", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("path", "text", "line", "better"),
    [
        ("server/a.py", f'"""Says so."""\n\n{WORD} = 3\n', 3, "breaker open, failure"),
        ("server/a.py", f"class My{WORD.title()}:\n    pass\n", 1, "breaker open, failure"),
        ("tests/a.py", f"def f({WORD}_of: int) -> None:\n    pass\n", 1, "breaker open, failure"),
        ("tests/a.py", f"x = 1\nself.{WORD} = 2\n", 2, "breaker open, failure"),
        ("tests/a.py", f"def test_a_{WORD}_is_given():\n    pass\n", 1, "breaker open, failure"),
        ("server/a.py", f'"""Reads.\n\nA {WORD} follows.\n"""\n', 3, "breaker open, failure"),
        ("server/a.py", f"x = 1  # a {WORD}\n", 1, "breaker open, failure"),
        (f"server/{WORD}.py", "x = 1\n", 1, "breaker open, failure"),
        ("server/a.py", f'"""Serves {PRONOUN} calls."""\n', 1, "a noun"),
        ("docs/a.md", f"# Calls\n\nIt serves {PRONOUN} calls.\n", 3, "a noun"),
        ("docs/a.md", f"# Calls\n\nIt serves {'and serves ' * 50}calls.\n", 3, "fewer than"),
    ],
    ids=["variable", "class", "argument", "attribute", "test", "docstring", "comment", "file",
         "pronoun", "pronoun-in-page", "long-sentence"],
)  # fmt: skip
def test_an_offending_place_is_listed(
    prose: ModuleType,
    project: Path,
    capsys: pytest.CaptureFixture[str],
    path: str,
    text: str,
    line: int,
    better: str,
) -> None:
    """Each kind of place is printed with its file, its line and the better word."""
    (project / path).write_text(text, encoding="utf-8")
    assert prose.main(["--list", str(project)], project) == 1
    (printed,) = capsys.readouterr().out.splitlines()
    assert printed.startswith(f"{project / path}:{line}: ")
    assert f"(use: {better}" in printed


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("server/a.py", f'print("{WORD}")\n'),
        ("server/a.py", f"import {WORD}\n\n{WORD}.run({WORD})\n"),
        ("server/a_pb2.py", f"{WORD} = 1\n"),
        ("docs/a.md", f"# Calls\n\n```console\n{'run ' * 50} {PRONOUN}\n```\n"),
        ("docs/a.md", f"- {'a short item ' * 5}\n- {'a short item ' * 5}\n"),
    ],
    ids=["string", "name-of-others", "generated", "code-block", "list"],
)
def test_other_text_is_not_listed(
    prose: ModuleType, project: Path, capsys: pytest.CaptureFixture[str], path: str, text: str
) -> None:
    """Strings, names that are only used, generated files and code blocks are no prose."""
    (project / path).write_text(text, encoding="utf-8")
    assert prose.main(["--list", str(project)], project) == 0
    assert capsys.readouterr().out == ""


def test_a_project_without_a_fault_passes(prose: ModuleType, project: Path) -> None:
    """Nothing is counted in it."""
    assert prose.main([], project) == 0


@pytest.mark.parametrize(
    ("path", "text", "measure"),
    [
        ("server/a.py", f'"""Serves {PRONOUN} calls."""\n', "server: "),
        ("tests/a.py", f'"""Serves {PRONOUN} calls."""\n', "tests: "),
        ("docs/a.md", f"It serves {PRONOUN} calls.\n", "docs: "),
        ("docs/a.md", f"It serves {'and serves ' * 50}calls.\n", "docs: p90"),
        ("server/a.py", f"{WORD} = 1\n" * 1_000, "places that should say 'breaker open"),
    ],
    ids=["server", "tests", "docs", "sentences", "words"],
)
def test_a_project_above_a_limit_fails(
    prose: ModuleType,
    project: Path,
    capsys: pytest.CaptureFixture[str],
    path: str,
    text: str,
    measure: str,
) -> None:
    """Each measure has a limit, and the one that is exceeded is marked."""
    (project / path).write_text(text, encoding="utf-8")
    assert prose.main([], project) == 1
    marked = [line for line in capsys.readouterr().out.splitlines() if "too many" in line]
    assert any(line.startswith(measure) for line in marked)
