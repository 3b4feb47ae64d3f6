"""Compares the IAM actions of the roles with those that the tests' requests needed.

Run by `.ci/test.py` with the folder in which each process of the tests recorded its actions:
`tests/support/action_recorder/sitecustomize.py` writes them. `--some` is for a run of a part of the
tests, which need not use every action.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from cfn_template import Template, as_list, load, resources

#: The caller in a recorded line -> the role that must allow its request.
ROLES: Final = {"server": "TaskRole", "operator": "OperatorRole"}


def actions_of(template: Template) -> dict[str, set[str]]:
    """Return the actions of each role in `ROLES`, with all of their conditional policies."""
    found: dict[str, set[str]] = {role: set() for role in ROLES.values()}
    for name, role in resources(template, "AWS::IAM::Role"):
        if name in found:
            policies = role["Properties"].get("Policies", [])
            for policy in policies:
                found[name] |= _actions(policy["PolicyDocument"])
            assert not role["Properties"].get("ManagedPolicyArns"), f"{name} has other actions"
    for _, policy in resources(template, "AWS::IAM::RolePolicy"):
        name = policy["Properties"]["RoleName"]["Ref"]
        if name in found:
            found[name] |= _actions(policy["Properties"]["PolicyDocument"])
    return found


def _actions(document: Mapping[str, object]) -> set[str]:
    return {
        action
        for statement in as_list(document["Statement"])
        if statement["Effect"] == "Allow" and not _is_for_a_service(statement)
        for action in as_list(statement["Action"])
    }


def _is_for_a_service(statement: Mapping[str, Any]) -> bool:
    """Return whether AWS alone uses the statement, for a service that the role has called."""
    condition: Mapping[str, object] = statement.get("Condition", {}).get("StringEquals", {})
    return "kms:ViaService" in condition


def recorded(folder: Path) -> dict[str, set[str]]:
    """Return the recorded actions by the role that must allow them."""
    found: dict[str, set[str]] = {role: set() for role in ROLES.values()}
    for file in folder.glob("*.txt"):
        for line in file.read_text("utf-8").splitlines():
            caller, action = line.split()
            found[ROLES[caller]].add(action)
    return found


def compare(
    granted: Mapping[str, set[str]], used: Mapping[str, set[str]], *, some: bool = False
) -> Iterator[str]:
    """Yield each action that a role lacks and, unless only some tests ran, has in vain."""
    for role, actions in granted.items():
        for action in sorted(used[role] - actions):
            yield f"{role} lacks {action}, which a request of the tests needs"
        for action in [] if some else sorted(actions - used[role]):
            yield f"{role} grants {action}, which no request of the tests needs"


def main(arguments: Sequence[str]) -> int:
    """Compare, print the findings, and return 0 if there are none."""
    folders = [argument for argument in arguments if argument != "--some"]
    granted, used = actions_of(load()["roles"]), recorded(Path(folders[0]))
    findings = list(compare(granted, used, some="--some" in arguments))
    for role, actions in used.items():
        print(f"{role}: {', '.join(sorted(actions)) or 'no action'}")
    print("\n".join(findings) or "no action is missing, none is superfluous")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
