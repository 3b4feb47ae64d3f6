"""Writes the PrometheusRule of the Kubernetes manifests from the rules of `deploy/prometheus`.

Run it after a change of the rules. They have one source, which promtool tests; `make check-deploy`
compares the written file with it.
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Final

from kubernetes_objects import FOLDER, ROOT

RULES: Final = ROOT / "deploy" / "prometheus" / "rules.yaml"
TARGET: Final = FOLDER / "fleet" / "prometheus-rule.yaml"
_HEAD: Final = """\
# Written by .ci/deploy/prometheus_rule.py from deploy/prometheus/rules.yaml. Do not edit.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: dynamodb-processor
  labels:
    app.kubernetes.io/name: dynamodb-processor
    app.kubernetes.io/component: server
    release: kube-prometheus-stack
spec:
"""


def rule_text(rules: Path = RULES) -> str:
    """Return a PrometheusRule with the groups of a file of Prometheus's rules, unchanged."""
    _, found, groups = rules.read_text("utf-8").partition("\ngroups:\n")
    if not found:
        raise ValueError(f"{rules} has no line `groups:`")
    return _HEAD + textwrap.indent(f"groups:\n{groups}", "  ")


def rule_findings(rules: Path = RULES, target: Path = TARGET) -> list[str]:
    """Return one sentence if the written file differs from the rules."""
    found = target.read_text("utf-8") if target.exists() else None
    if found != rule_text(rules):
        script = f".ci/deploy/{Path(__file__).name}"
        return [f"{target.name} differs from {rules.name}: run python {script}"]
    return []


def main() -> int:
    """Write the file."""
    TARGET.write_text(rule_text(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
