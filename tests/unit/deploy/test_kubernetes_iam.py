"""The check of the IAM policy finds actions and tables that it lacks, and actions in vain."""

from __future__ import annotations

from typing import Any

import pytest
from kubernetes_iam import load_policy, policy_findings, role_actions, table_findings

from tests.unit.deploy.manifests import base_objects, named


def test_the_policy_has_no_fault() -> None:
    """The policy, as it is, has the actions of the role and the tables of the catalog."""
    assert list(policy_findings(load_policy(), role_actions())) == []
    assert list(table_findings(load_policy(), base_objects())) == []


@pytest.mark.parametrize(
    ("actions", "expected"),
    [
        (["dynamodb:Query", "dynamodb:PutItem"], "the server never needs dynamodb:PutItem"),
        (["dynamodb:Query"], "the server needs dynamodb:GetItem"),
    ],
)
def test_other_actions_are_found(actions: list[str], expected: str) -> None:
    """An action that writes, and one that is missing, are named."""
    policy: dict[str, Any] = {"Statement": [{"Action": actions}]}
    allowed = {"dynamodb:Query", "dynamodb:GetItem", "dynamodb:Scan"}
    assert any(expected in finding for finding in policy_findings(policy, allowed))


def test_a_missing_table_is_found() -> None:
    """A table that the catalog names has to be among the resources, with its indexes and stream."""
    objects = base_objects()
    catalog = named(objects, "ConfigMap", "dynamodb-processor-catalog")
    catalog["data"]["catalog.yaml"] = "tables: {orders: }"
    missing = [finding.rsplit(" ", 1)[1] for finding in table_findings(load_policy(), objects)]
    assert missing == ["table/orders", "table/orders/index/*", "table/orders/stream/*"]
