"""The script that finds programs of Debian's packages."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

_SCRIPT: Final = Path(__file__).parents[3] / ".ci" / "debian_tool"


def _run(name: str, path: str, script: Path = _SCRIPT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/bash", str(script), name],
        env={"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def _program(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("#!/bin/sh\n", "utf-8")
    file.chmod(0o755)


def _copied(directory: Path) -> Path:
    """Return a copy of the script in a project that has fetched nothing yet."""
    script = directory / ".ci" / "debian_tool"
    script.parent.mkdir()
    script.write_text(_SCRIPT.read_text("utf-8"), "utf-8")
    return script


def test_an_installed_program_is_used(tmp_path: Path) -> None:
    """Nothing is fetched if the program is on PATH."""
    _program(tmp_path / "promtool")
    done = _run("promtool", f"{tmp_path}:/usr/bin:/bin")
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'promtool'}\n")


def test_a_fetched_program_is_used(tmp_path: Path) -> None:
    """A package is fetched once."""
    script = _copied(tmp_path)
    program = tmp_path / "build" / "tools" / "prometheus" / "usr" / "bin" / "promtool"
    _program(program)
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "dirname").symlink_to("/usr/bin/dirname")
    done = _run("promtool", str(tools), script)
    assert (done.returncode, done.stdout) == (0, f"{program}\n")


def test_without_apt_the_message_names_the_package_to_install(tmp_path: Path) -> None:
    """The message names the program and the oldest version that is known to do."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "dirname").symlink_to("/usr/bin/dirname")
    done = _run("promtool", str(tools), _copied(tmp_path))
    assert done.returncode == 1
    assert "promtool is not on PATH and this system has no apt-get: install" in done.stderr


def test_an_unknown_program_is_an_error() -> None:
    """The message lists the known ones."""
    done = _run("promtol", "/usr/bin:/bin")
    assert done.returncode == 2
    assert "'promtol'; known: kubectl, prometheus, promtool" in done.stderr
