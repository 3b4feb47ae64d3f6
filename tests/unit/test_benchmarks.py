"""Tests that benchmarks can be imported and read their arguments: a run takes minutes."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path
from typing import Final

import pytest

_FOLDER: Final = Path(__file__).parents[2] / "benchmarks"
_MODULES: Final = [
    ".".join(file.relative_to(_FOLDER).with_suffix("").parts)
    for file in sorted(_FOLDER.rglob("*.py"))
]
#: Peers of the service, whose packages only the environment of `make bench` has.
_FOREIGN: Final = ("peers.callers", "peers.fastapi_service")
_COMMANDS: Final = (
    "client_faces", "items", "ladder", "memory", "preparing", "run", "scaling", "trace_path",
)  # fmt: skip


@pytest.mark.parametrize("name", [name for name in _MODULES if name not in _FOREIGN])
def test_a_benchmark_can_be_imported(name: str) -> None:
    """Every name that a benchmark imports from the project exists."""
    import_module(name)


@pytest.mark.parametrize("name", _FOREIGN)
def test_a_foreign_peer_imports_nothing_of_the_project(name: str) -> None:
    """A peer that is not imported by these tests depends on no name of the project."""
    text = _FOLDER.joinpath(*name.split(".")).with_suffix(".py").read_text(encoding="utf-8")
    nodes = list(ast.walk(ast.parse(text)))
    imported = {one.name for node in nodes if isinstance(node, ast.Import) for one in node.names}
    imported |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    assert imported
    assert not [module for module in imported if module.startswith("dynamodb_processor")]
    assert imported.isdisjoint(_MODULES)


@pytest.mark.parametrize("name", _COMMANDS)
def test_a_benchmark_reads_its_arguments(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command explains itself, and refuses a misspelt flag before it measures anything."""
    main = import_module(name).main
    with pytest.raises(SystemExit) as helped:
        main(["--help"])
    assert helped.value.code == 0
    assert "usage:" in capsys.readouterr().out
    with pytest.raises(SystemExit) as refused:
        main(["--documents"])
    assert refused.value.code == 2
