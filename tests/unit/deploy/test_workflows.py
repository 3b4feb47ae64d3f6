"""The workflow that deploys: which version it returns to after a failure.

actionlint and zizmor check its syntax and its rights. The steps run here with a kubectl that
records its commands.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.support.documentation import ROOT

_NOTE: Final = "Note the version in place"
_RETURN: Final = "Return to the version before"
_KUBECTL: Final = """\
#!/bin/sh
echo "$@" >> "$RECORD"
case "$*" in *" get "*) printf %s "$DEPLOYED" ;; esac
"""


def steps() -> dict[str, dict[str, Any]]:
    """Return the named steps of the job, in their order."""
    text = (ROOT / ".github" / "workflows" / "deploy.yaml").read_text("utf-8")
    job = yaml.safe_load(text)["jobs"]["deploy"]
    return {step["name"]: step for step in job["steps"] if "name" in step}


def run(step: str, folder: Path, **variables: str) -> list[str]:
    """Run a step's commands; return its outputs, and the commands that kubectl got."""
    for name, script in (("kubectl", _KUBECTL), ("aws", "#!/bin/sh\n")):
        program = folder / name
        program.write_text(script, "utf-8")
        program.chmod(0o755)
    output, record = folder / "output", folder / "record"
    output.write_text("", "utf-8")
    record.write_text("", "utf-8")
    env = {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "GITHUB_OUTPUT": str(output),
        "RECORD": str(record),
        "NAMESPACE": "dynamodb-processor-staging",
        **variables,
    }
    command = ["bash", "-e", "-o", "pipefail", "-c", steps()[step]["run"]]
    subprocess.run(command, env=env, cwd=folder, check=True)
    return [*output.read_text("utf-8").splitlines(), *record.read_text("utf-8").splitlines()]


@pytest.mark.parametrize("revision", ["7", ""])
def test_the_version_in_place_is_noted_before_the_rollout(revision: str, tmp_path: Path) -> None:
    """Its number is the output of a step; there is none before the first deployment."""
    noted, asked = run(_NOTE, tmp_path, CLUSTER="main", DEPLOYED=revision)
    assert noted == f"revision={revision}"
    assert asked.startswith("--namespace dynamodb-processor-staging get deployment/")
    names = list(steps())
    assert names.index(_NOTE) < names.index("Roll out")
    assert steps()[_NOTE]["id"] == "before"


def test_a_failure_returns_to_the_noted_version(tmp_path: Path) -> None:
    """A step that fails before the rollout must not take the deployment a version further back."""
    step = steps()[_RETURN]
    assert step["if"] == "failure() && steps.before.outputs.revision"
    assert step["env"] == {"REVISION": "${{ steps.before.outputs.revision }}"}
    assert list(steps())[-1] == _RETURN
    (command,) = run(_RETURN, tmp_path, REVISION="7")
    assert command == (
        "--namespace dynamodb-processor-staging rollout undo deployment/dynamodb-processor "
        "--to-revision 7"
    )
