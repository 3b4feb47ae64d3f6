"""Alerts, dashboards, runbook and metrics fit together, and the check finds where they do not."""

from __future__ import annotations

import copy
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest

_CASES: Final = "promql_expr_test"
_SCRIPT: Final = Path(__file__).parents[3] / ".ci" / "deploy" / "monitoring.py"


@pytest.fixture(scope="module")
def monitoring() -> ModuleType:
    """The script, imported as a module."""
    spec = importlib.util.spec_from_file_location("monitoring", _SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["monitoring"] = module  # its dataclass looks itself up there
    spec.loader.exec_module(module)
    return module


def test_the_files_of_the_project_fit_together(monitoring: ModuleType) -> None:
    """Each alert leads to a section of the runbook, and every metric exists."""
    assert list(monitoring.read().findings()) == []


def _alert(files: Any) -> Any:
    """Return the first alert."""
    rules = [rule for group in files.rules["groups"] for rule in group["rules"]]
    return next(rule for rule in rules if "alert" in rule)


def _without_severity(files: Any) -> None:
    del _alert(files)["labels"]["severity"]


def _without_summary(files: Any) -> None:
    del _alert(files)["annotations"]["summary"]


def _dead_link(files: Any) -> None:
    _alert(files)["annotations"]["runbook_url"] += "-gone"


def _foreign_link(files: Any) -> None:
    _alert(files)["annotations"]["runbook_url"] = "runbook.md#memory"


def _other_runbook(files: Any) -> None:
    url = _alert(files)["annotations"]["runbook_url"]
    _alert(files)["annotations"]["runbook_url"] = url.replace(
        "docs.example.com", "wiki.example.org"
    )


def _untested(files: Any) -> None:
    name = _alert(files)["alert"]
    cases = [case for file in files.tests for test in file["tests"] for case in test[_CASES]]
    for case in cases:
        samples = case.get("exp_samples", ())
        case["exp_samples"] = [each for each in samples if name not in each["labels"]]


def _renamed(files: Any) -> None:
    _alert(files)["alert"] = "Renamed"


def _twice(files: Any) -> None:
    group = files.rules["groups"][0]
    group["rules"].append(_alert(files))


def _unknown_metric(files: Any) -> None:
    _alert(files)["expr"] += " and dynamodb_processor_invented > 0"


def _unrecorded(files: Any) -> None:
    _alert(files)["expr"] += " and dynamodb_processor:invented:rate5m > 0"


def _unknown_in_dashboard(files: Any) -> None:
    panel = files.dashboards["overview.json"]["panels"][0]
    panel["targets"][0]["expr"] = "rate(dynamodb_processor_invented_total[5m])"


@pytest.mark.parametrize(
    ("plant", "words"),
    [
        (_without_severity, "has no severity"),
        (_without_summary, "has no summary"),
        (_dead_link, "the runbook has no section"),
        (_foreign_link, "runbook_url is not https://…/operations/runbook.md#…"),
        (_other_runbook, "there are several addresses of a runbook"),
        (_untested, "fires in no test"),
        (_renamed, "troubleshooting.md does not lead from it"),
        (_twice, "there are two alerts"),
        (_unknown_metric, "has no metric dynamodb_processor_invented"),
        (_unrecorded, "no rule records dynamodb_processor:invented:rate5m"),
        (_unknown_in_dashboard, "overview.json: Calls by status: docs/reference/metrics.md"),
    ],
)
def test_a_planted_fault_is_found(
    monitoring: ModuleType, plant: Callable[[Any], None], words: str
) -> None:
    """Each kind of contradiction is reported with its place."""
    files = copy.deepcopy(monitoring.read())
    plant(files)
    assert any(words in finding for finding in files.findings())


def test_an_alert_that_troubleshooting_does_not_list_is_found(monitoring: ModuleType) -> None:
    """A section alone is not enough: readers look for the alert's name."""
    files = monitoring.read()
    name = _alert(files)["alert"]
    without = files.troubleshooting.replace(f"`{name}`", "")
    found = list(replace(files, troubleshooting=without).findings())
    assert any(name in finding for finding in found)


def test_an_operator_may_replace_the_address_of_the_runbook(monitoring: ModuleType) -> None:
    """All alerts may lead to another copy of the page."""
    files = copy.deepcopy(monitoring.read())
    for group in files.rules["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                notes = rule["annotations"]
                notes["runbook_url"] = notes["runbook_url"].replace("docs.example", "wiki.example")
    assert list(files.findings()) == []
