"""The PrometheusRule of the Kubernetes manifests is compared with the rules that it comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
import yaml
from prometheus_rule import rule_findings, rule_text

_RULES: Final = """\
# Rules.
groups:
  - name: alerts
    rules:
      - alert: Down
        expr: |
          up == 0
            or absent(up)
        annotations: {summary: "{{ $value }}"}
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """A file of rules."""
    file = tmp_path / "rules.yaml"
    file.write_text(_RULES, "utf-8")
    return file


def test_a_changed_rule_is_found(rules: Path) -> None:
    """The written file counts as old when it is missing, or when a rule has changed."""
    target = rules.with_name("prometheus-rule.yaml")
    assert "differs from rules.yaml" in rule_findings(rules, target)[0]
    target.write_text(rule_text(rules), "utf-8")
    assert rule_findings(rules, target) == []
    rules.write_text(_RULES.replace("up == 0", "up < 1"), "utf-8")
    assert "differs from rules.yaml" in rule_findings(rules, target)[0]


def test_the_object_has_the_groups_unchanged(rules: Path) -> None:
    """Expressions of several lines and templates of annotations are passed on as they are."""
    written = yaml.safe_load(rule_text(rules))
    assert written["kind"] == "PrometheusRule"
    assert written["spec"] == yaml.safe_load(_RULES)


def test_a_file_without_groups_is_refused(rules: Path) -> None:
    """Another layout of the file is an error, not an empty object."""
    rules.write_text("rules: []\n", "utf-8")
    with pytest.raises(ValueError, match="has no line `groups:`"):
        rule_text(rules)
