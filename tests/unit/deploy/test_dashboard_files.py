"""The dashboards' files are those that their panels make, and fit Grafana's import."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

_FOLDER: Final = Path(__file__).parents[3] / ".ci" / "deploy"


@pytest.fixture
def dashboards(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, imported as a module."""
    monkeypatch.syspath_prepend(str(_FOLDER))
    spec = importlib.util.spec_from_file_location("dashboards", _FOLDER / "dashboards.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.delitem(sys.modules, "panels")
    return module


def test_the_files_are_up_to_date(dashboards: ModuleType) -> None:
    """A change of a panel changes its file in the same commit."""
    assert dashboards.main(["--check"]) == 0


def test_a_different_or_missing_file_is_found(
    dashboards: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The message names the files and the remedy."""
    monkeypatch.setattr(dashboards, "_FOLDER", tmp_path)
    assert dashboards.main([]) == 0
    assert dashboards.main(["--check"]) == 0
    (tmp_path / "cache.json").write_text("{}", "utf-8")
    (tmp_path / "callers.json").unlink()
    capsys.readouterr()
    assert dashboards.main(["--check"]) == 1
    said = capsys.readouterr().out
    assert "differs in cache.json, callers.json: run .ci/deploy/dashboards.py" in said


def test_panels_have_numbers_places_and_letters_of_their_own(dashboards: ModuleType) -> None:
    """Grafana draws one of two panels with one number, and one of two queries with one letter."""
    for page in dashboards.DASHBOARDS:
        made = json.loads(json.dumps(dashboards.dashboard(page)))
        panels = made["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels)
        assert len({(p["gridPos"]["x"], p["gridPos"]["y"]) for p in panels}) == len(panels)
        for panel in panels:
            letters = [target["refId"] for target in panel["targets"]]
            assert len(set(letters)) == len(letters)
            assert all(each["datasource"]["uid"] == "${datasource}" for each in panel["targets"])
        names = [variable["name"] for variable in made["templating"]["list"]]
        assert names[:3] == ["datasource", "job", "instance"]
