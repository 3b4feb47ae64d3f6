"""`deploy/cloudformation/deploy` calls the AWS CLI with the parameters of an environment."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from cfn_stacks import parameter_files
from cfn_template import FOLDER

SCRIPT = FOLDER / "deploy"


@pytest.fixture
def aws(tmp_path: Path) -> dict[str, str]:
    """An environment whose `aws` prints its folder and its arguments, one on a line."""
    program = tmp_path / "aws"
    program.write_text('#!/bin/sh\npwd\nprintf "%s\\n" "$@"\n', "utf-8")
    program.chmod(0o755)
    return os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script from the root of the file system."""
    return subprocess.run(
        [str(SCRIPT), *arguments],
        cwd="/",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("environment", sorted(parameter_files()))
def test_the_parameters_of_the_file_are_passed(aws: dict[str, str], environment: str) -> None:
    """The stack has the name of the deployment, and further parameters come last, so they win."""
    done = run(aws, environment, "roles", "TablePattern=a b*", "RepositoryArn=arn")
    assert done.returncode == 0, done.stderr
    folder, *arguments = done.stdout.splitlines()
    assert folder == str(FOLDER)
    assert arguments[:2] == ["cloudformation", "deploy"]
    parameters = parameter_files()[environment]
    assert arguments[arguments.index("--stack-name") + 1] == f"{parameters['Deployment']}-roles"
    assert (FOLDER / arguments[arguments.index("--template-file") + 1]).is_file()
    passed = arguments[arguments.index("--parameter-overrides") + 1 :]
    own = [f"{name}={value}" for name, value in parameters.items()]
    assert passed == [*own, "TablePattern=a b*", "RepositoryArn=arn"]


@pytest.mark.parametrize("arguments", [(), ("dev",), ("test", "roles"), ("dev", "role")])
def test_a_wrong_name_is_answered_with_the_right_ones(
    aws: dict[str, str], arguments: tuple[str, ...]
) -> None:
    """Nothing is deployed, and the names of environments and stacks are shown."""
    done = run(aws, *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "environments: dev production staging" in done.stderr
    assert "network data cache roles service alarms" in done.stderr
