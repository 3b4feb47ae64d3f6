"""Compares the IAM policy of the manifests with the role of the server and with the catalogs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import yaml
from cfn_actions import actions_of
from cfn_template import load
from kubernetes_objects import FOLDER, Objects

#: Actions for options that the manifests do not use: allow_scan, discover, role_arn, cloudwatch,
#: secrets in AWS Secrets Manager.
OPTIONAL: Final = frozenset(
    {
        "cloudwatch:PutMetricData",
        "dynamodb:ListTables",
        "dynamodb:Scan",
        "secretsmanager:GetSecretValue",
        "sts:AssumeRole",
    }
)


def load_policy() -> dict[str, Any]:
    """Return the policy for the pods' role."""
    policy: dict[str, Any] = json.loads((FOLDER / "iam" / "policy.json").read_text("utf-8"))
    return policy


def role_actions() -> set[str]:
    """Return the actions of the role in deploy/cloudformation, which the tests' requests prove."""
    return actions_of(load()["roles"])["TaskRole"]


def policy_findings(policy: Mapping[str, Any], allowed: set[str]) -> Iterator[str]:
    """Yield one sentence for each action that the policy lacks, or has in vain."""
    actions = {action for one in policy["Statement"] for action in one["Action"]}
    for action in sorted(actions - allowed):
        yield f"policy.json: the server never needs {action}"
    for action in sorted(allowed - OPTIONAL - actions):
        yield f"policy.json: the server needs {action}"


def table_findings(policy: Mapping[str, Any], objects: Objects) -> Iterator[str]:
    """Yield one sentence for each table, index or stream of a catalog that the policy lacks."""
    resources: set[str] = set()
    for statement in policy["Statement"]:
        named = statement["Resource"]
        resources.update([named] if isinstance(named, str) else named)
    paths = {resource.split(":", 5)[5] for resource in resources}
    config = objects.named("ConfigMap", "dynamodb-processor-catalog")
    catalog = yaml.safe_load((config or {})["data"]["catalog.yaml"])
    for name, table in catalog["tables"].items():
        path = f"table/{(table or {}).get('table', name)}"
        for wanted in (path, f"{path}/index/*", f"{path}/stream/*"):
            if wanted not in paths:
                yield f"policy.json: no statement has the resource {wanted}"
