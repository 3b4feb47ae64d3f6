"""Checks what promtool does not: that alerts, dashboards, runbook and metrics fit together.

- Each alert has a severity, a summary and the address of a section of the runbook that exists, and
  the table of alarms in docs/operations/troubleshooting.md leads there.
- All of these addresses begin alike: an operator replaces them by that of a copy of docs/.
- promtool's tests see each alert fire.
- Rules and dashboards use metrics of the reference only, or recording rules.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

_ROOT: Final = Path(__file__).resolve().parents[2]
_RUNBOOK: Final = re.compile(r"https://\S+/operations/runbook\.md")
_SEVERITIES: Final = frozenset({"page", "ticket"})
_METRIC: Final = re.compile(r"\b(?:dynamodb_processor|process)_\w+")
_RECORDED: Final = re.compile(r"\bdynamodb_processor:[\w:]+")
_SUFFIXES: Final = ("_bucket", "_sum", "_count")


@dataclass(frozen=True, slots=True)
class Monitoring:
    """The files to compare: rules, promtool's tests, dashboards by name, and three pages."""

    rules: Mapping[str, Any]
    tests: Sequence[Mapping[str, Any]]
    dashboards: Mapping[str, Mapping[str, Any]]
    runbook: str
    troubleshooting: str
    reference: str

    def findings(self) -> Iterator[str]:
        """Yield each contradiction."""
        rules = [rule for group in self.rules["groups"] for rule in group["rules"]]
        alerts = [rule for rule in rules if "alert" in rule]
        names = [str(alert["alert"]) for alert in alerts]
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield f"rules.yaml: there are two alerts {name}"
        for alert in alerts:
            yield from self._of_alert(alert)
        addresses = {_runbook_url(alert).partition("#")[0] for alert in alerts}
        if len(addresses) > 1:
            yield f"rules.yaml: there are several addresses of a runbook: {sorted(addresses)}"
        for name in sorted(self._fired() - set(names)):
            yield f"*.test.yaml: {name} is no alert of rules.yaml"
        recorded = {str(rule["record"]) for rule in rules if "record" in rule}
        for rule in rules:
            name = rule.get("alert") or rule["record"]
            yield from self._unknown(f"rules.yaml: {name}", rule["expr"], recorded)
        for file, page in self.dashboards.items():
            for panel in page["panels"]:
                for target in panel["targets"]:
                    where = f"{file}: {panel['title']}"
                    yield from self._unknown(where, target["expr"], recorded)

    def _of_alert(self, alert: Mapping[str, Any]) -> Iterator[str]:
        name, annotations = alert["alert"], alert.get("annotations", {})
        where = f"rules.yaml: {name}"
        if alert.get("labels", {}).get("severity") not in _SEVERITIES:
            yield f"{where} has no severity: page or ticket"
        if not annotations.get("summary") or not annotations.get("description"):
            yield f"{where} has no summary or no description"
        address, _, anchor = _runbook_url(alert).partition("#")
        row = rf"^\| `{name}` \|.*\(runbook\.md#{anchor}\)"
        if not _RUNBOOK.fullmatch(address):
            yield f"{where}: runbook_url is not https://…/operations/runbook.md#…"
        elif anchor not in _anchors(self.runbook):
            yield f"{where}: the runbook has no section #{anchor}"
        elif not re.search(row, self.troubleshooting, re.MULTILINE):
            yield f"{where}: troubleshooting.md does not lead from it to #{anchor}"
        if name not in self._fired():
            yield f"{where} fires in no test of promtool's"

    def _fired(self) -> set[str]:
        """Return the alerts that promtool's tests expect to fire."""
        return {
            found[1]
            for file in self.tests
            for test in file["tests"]
            for case in test["promql_expr_test"]
            for sample in case.get("exp_samples", ())
            if (found := re.search(r'alertname="(\w+)"', sample["labels"]))
        }

    def _unknown(self, where: str, expression: str, recorded: set[str]) -> Iterator[str]:
        known = set(re.findall(r"^\| `(\w+)` \|", self.reference, re.MULTILINE))
        for metric in sorted(set(_METRIC.findall(expression))):
            names = {metric, *(metric.removesuffix(suffix) for suffix in _SUFFIXES)}
            if not names & known:
                yield f"{where}: docs/reference/metrics.md has no metric {metric}"
        for name in sorted(set(_RECORDED.findall(expression)) - recorded):
            yield f"{where}: no rule records {name}"


def _runbook_url(alert: Mapping[str, Any]) -> str:
    return str(alert.get("annotations", {}).get("runbook_url", ""))


def _anchors(page: str) -> Iterable[str]:
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def read(root: Path = _ROOT) -> Monitoring:
    """Return the files of a project."""
    deploy = root / "deploy"
    return Monitoring(
        yaml.safe_load((deploy / "prometheus" / "rules.yaml").read_text("utf-8")),
        [
            yaml.safe_load(file.read_text("utf-8"))
            for file in sorted((deploy / "prometheus").glob("*.test.yaml"))
        ],
        {
            file.name: json.loads(file.read_text("utf-8"))
            for file in sorted((deploy / "grafana").glob("*.json"))
        },
        (root / "docs" / "operations" / "runbook.md").read_text("utf-8"),
        (root / "docs" / "operations" / "troubleshooting.md").read_text("utf-8"),
        (root / "docs" / "reference" / "metrics.md").read_text("utf-8"),
    )


if __name__ == "__main__":
    found = list(read().findings())
    print("\n".join(found), end="\n" if found else "")
    sys.exit(bool(found))
