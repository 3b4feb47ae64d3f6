"""The check of the Dockerfile executes its steps, and names the one that fails."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from image_build import Builder, Instruction, StepFailed, build_stage, instructions

from tests.support.documentation import ROOT

_STAGES = """\
FROM base AS build
# A comment.
ENV COLOR=red SIZE=2
WORKDIR /src
COPY one.txt folder/
RUN mkdir -p /opt/made \\
    # another
    && cp folder/one.txt /opt/made/$COLOR
FROM base
COPY --from=build /opt /opt
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A repository with one file that git knows, and one that it does not."""
    folder = tmp_path / "source"
    folder.mkdir()
    for name in ("one.txt", "two.txt"):
        (folder / name).write_text(name, "utf-8")
    git = shutil.which("git")
    assert git is not None
    for command in (("init", "--quiet"), ("add", "one.txt")):
        subprocess.run([git, *command], cwd=folder, check=True)
    return folder


def test_the_steps_are_executed_below_a_folder(source: Path, tmp_path: Path) -> None:
    """Variables, copies and absolute paths work as in the image."""
    root = tmp_path / "root"
    Builder(root, source).run(build_stage(_STAGES))
    assert (root / "opt" / "made" / "red").read_text("utf-8") == "one.txt"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("one.txt folder/", "two.txt folder/"), "COPY two.txt: git knows no such file"),
        (("cp folder", "false && cp folder"), "ended with 1"),
        (("WORKDIR", "VOLUME"), "VOLUME: the check does not know this instruction"),
    ],
)
def test_a_failing_step_is_named(
    change: tuple[str, str], expected: str, source: Path, tmp_path: Path
) -> None:
    """A step that fails ends the build with its own words."""
    with pytest.raises(StepFailed, match=expected):
        Builder(tmp_path / "root", source).run(build_stage(_STAGES.replace(*change)))


def test_the_build_stage_of_the_image_verifies_every_hash() -> None:
    """Each installation from a registry demands hashes, and the server takes no source packages."""
    stage = build_stage((ROOT / "Dockerfile").read_text("utf-8"))
    runs = [one.arguments for one in stage if one.name == "RUN"]
    commands = [part for run in runs for part in run.split("&&")]
    installs = [part for part in commands if _installs(part)]
    assert len(installs) == 2
    for install in installs:
        assert "--require-hashes" in install
    assert "--only-binary=:all:" in installs[1]


def _installs(command: str) -> bool:
    """Return whether a command installs from a registry."""
    return "install" in command.split() and "--no-index" not in command


def test_the_image_runs_without_root() -> None:
    """The last user of the Dockerfile is a number other than 0, and health is checked."""
    found = instructions((ROOT / "Dockerfile").read_text("utf-8"))
    users = [one.arguments for one in found if one.name == "USER"]
    assert users[-1].split(":")[0].isdigit()
    assert int(users[-1].split(":")[0]) > 0
    assert Instruction("STOPSIGNAL", "SIGTERM") in found
    assert any(one.name == "HEALTHCHECK" for one in found)


def test_the_health_check_needs_no_certificate() -> None:
    """It asks the port that serves health alone, in plain text also where the main port has TLS."""
    found = instructions((ROOT / "Dockerfile").read_text("utf-8"))
    (check,) = (one.arguments for one in found if one.name == "HEALTHCHECK")
    (variables,) = (
        one.arguments for one in found if one.name == "ENV" and "HEALTH_LISTEN" in one.arguments
    )
    port = re.search(r"DYNAMODB_PROCESSOR_HEALTH_LISTEN=0\.0\.0\.0:(\d+)", variables)
    assert port is not None
    assert f'"--target", "127.0.0.1:{port[1]}"' in check
