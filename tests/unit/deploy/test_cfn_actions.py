"""The roles have the actions that the product's requests need, and no others."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Final

import cfn_actions
import pytest
from cfn_template import as_list, load

GRANTED: Final = cfn_actions.actions_of(load()["roles"])
EMPTY: Final[dict[str, set[str]]] = {role: set() for role in GRANTED}


def record(folder: Path, granted: dict[str, set[str]]) -> None:
    """Write the files of processes that used these actions, each of them twice."""
    callers = {role: caller for caller, role in cfn_actions.ROLES.items()}
    for process in (1, 2):
        lines = (f"{callers[role]} {a}\n" for role, actions in granted.items() for a in actions)
        (folder / f"{process}.txt").write_text("".join(lines), "utf-8")


def test_no_role_writes() -> None:
    """Every action on tables and streams reads, lists or describes; one assumes a role.

    The server writes metrics, the operator new versions of keys, and they write nothing else.
    """
    reading = ("BatchGet", "Get", "Query", "Scan", "Describe", "List", "AssumeRole")
    writing = {
        "TaskRole": {"cloudwatch:PutMetricData"},
        "OperatorRole": {"secretsmanager:PutSecretValue"},
    }
    for role, actions in GRANTED.items():
        others = {one for one in actions if not one.partition(":")[2].startswith(reading)}
        assert others == writing[role]


def test_secrets_are_granted_by_name() -> None:
    """No statement about secrets or the key that encrypts them is for all resources.

    The key is used through Secrets Manager alone, which sends these requests itself.
    """
    found = 0
    for resource in load()["roles"]["Resources"].values():
        statements = resource["Properties"].get("PolicyDocument", {}).get("Statement", [])
        for statement in statements:
            services = {action.partition(":")[0] for action in as_list(statement["Action"])}
            if services & {"secretsmanager", "kms"}:
                found += 1
                names = as_list(statement["Resource"])
                assert all(name["Fn::ImportValue"]["Fn::Sub"].endswith("Arn") for name in names)
                assert ("kms" in services) == ("kms:ViaService" in str(statement))
    assert found == 5


def test_an_action_that_a_service_uses_counts_only_without_its_condition() -> None:
    """No request of the product is about KMS; without the condition, the action is superfluous."""
    template = copy.deepcopy(load()["roles"])
    assert not any(action.startswith("kms:") for action in GRANTED["TaskRole"])
    policy = template["Resources"]["ReadSecrets"]["Properties"]["PolicyDocument"]
    del policy["Statement"][1]["Condition"]
    assert "kms:Decrypt" in cfn_actions.actions_of(template)["TaskRole"]


def test_the_same_actions_are_no_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Roles that grant the recorded actions pass."""
    record(tmp_path, GRANTED)
    assert cfn_actions.main([str(tmp_path)]) == 0
    assert "no action is missing, none is superfluous" in capsys.readouterr().out


def test_a_missing_action_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A request that a role does not allow fails the run, also that of a part of the tests."""
    record(tmp_path, EMPTY | {"TaskRole": {"dynamodb:PutItem"}})
    assert cfn_actions.main([str(tmp_path), "--some"]) == 1
    finding = "TaskRole lacks dynamodb:PutItem, which a request of the tests needs"
    assert finding in capsys.readouterr().out


def test_a_superfluous_action_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An action that no test needs fails the whole run; a part of the tests need not use it."""
    used = {role: set(actions) for role, actions in GRANTED.items()}
    used["OperatorRole"].remove("dynamodb:DescribeTimeToLive")
    record(tmp_path, used)
    assert cfn_actions.main([str(tmp_path), "--some"]) == 0
    assert cfn_actions.main([str(tmp_path)]) == 1
    finding = "OperatorRole grants dynamodb:DescribeTimeToLive, which no request of the tests needs"
    assert finding in capsys.readouterr().out


def test_conditional_policies_count() -> None:
    """The actions of a role are those with every feature on."""
    assert {"dynamodb:Scan", "dynamodb:ListTables", "sts:AssumeRole"} <= GRANTED["TaskRole"]


def test_restricted_partitions_exclude_scans_and_streams() -> None:
    """With leading keys the server may neither scan nor read streams, which show all items."""
    template = load()["roles"]
    conditions = template["Conditions"]
    with_all = {"AllPartitions", "Scans"}
    assert {"Condition": "AllPartitions"} in conditions["Scans"]["Fn::And"]
    for name, resource in template["Resources"].items():
        if resource["Type"] != "AWS::IAM::RolePolicy":
            continue
        (statement, *_) = resource["Properties"]["PolicyDocument"]["Statement"]
        actions = set(as_list(statement["Action"]))
        if name == "ReadItemsOfPartitions":
            assert statement["Condition"] == {
                "ForAllValues:StringEquals": {"dynamodb:LeadingKeys": {"Ref": "LeadingKeys"}},
                "Null": {"dynamodb:LeadingKeys": "false"},
            }
        elif resource["Properties"]["RoleName"] == {"Ref": "TaskRole"} and actions & {
            "dynamodb:Query",
            "dynamodb:Scan",
            "dynamodb:GetRecords",
        }:
            assert resource["Condition"] in with_all
