"""Checks the unit of `deploy/systemd` beyond `systemd-analyze`: settings, files and times.

`systemd_unit.py` prints the findings. `systemd_unit.py verify PROGRAM` passes a copy to
systemd-analyze, in which the programs are some that exist on this machine.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from dynamodb_processor_server.cli.serve import CLOSE_SECONDS
from dynamodb_processor_server.serving_settings import ENVIRONMENT_PREFIX
from dynamodb_processor_server.settings import Settings

FOLDER: Final = Path(__file__).resolve().parents[2] / "deploy" / "systemd"
UNIT: Final = "dynamodb-processor.service"
_OTHERS: Final = frozenset({"AWS_REGION"})  # read by the AWS libraries
# An exposure above it would mean that a restriction was lost; systemd counts from 0 to 100.
_EXPOSURE: Final = 20


def unit_findings(unit: str, environment: str) -> Iterator[str]:
    """Yield one sentence for each fault in a unit and its file of settings."""
    given = {}
    for line in environment.splitlines():
        if not line or line.startswith("#"):
            continue
        name, _, value = line.partition("=")
        field = name.removeprefix(ENVIRONMENT_PREFIX).lower()
        if name.startswith(ENVIRONMENT_PREFIX) and field in Settings.model_fields:
            given[field] = value
        elif name not in _OTHERS:
            yield f"settings.env: {name} names no setting"
    try:
        settings = Settings.model_validate(given)
    except ValidationError as error:
        for details in error.errors(include_input=False, include_url=False):
            yield f"settings.env: {'.'.join(map(str, details['loc']))}: {details['msg']}"
    else:
        yield from _service_faults(unit, settings)


def _service_faults(unit: str, settings: Settings) -> Iterator[str]:
    needed = settings.drain_delay + settings.drain_grace + CLOSE_SECONDS
    stop = re.search(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    if stop is None or int(stop[1]) <= needed:
        yield f"TimeoutStopSec has to be more than {needed:g}, the time of a drain"
    asked = re.search(r"^ExecStartPost=\S+ health --target (\S+)", unit, re.MULTILINE)
    if asked is None or asked[1] != settings.health_listen:
        yield f"ExecStartPost has to ask {settings.health_listen}, which is health_listen"
    if "RestartPreventExitStatus=2" not in unit.splitlines():
        yield "an error in the settings (exit code 2) has to end the restarts"
    if re.search(r"^User=(root|0)?$", unit, re.MULTILINE) or "\nUser=" not in unit:
        yield "the unit has to name a user other than root"


def verify(program: str) -> int:
    """Run systemd's own checks on the unit, and return their worst exit code."""
    text = (FOLDER / UNIT).read_text("utf-8")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / UNIT
        # systemd wants to find the programs that a unit starts.
        copy.write_text(re.sub(r"/opt/\S+/bin/\S+", "/bin/true", text), "utf-8")
        threshold = f"--threshold={_EXPOSURE}"
        commands = (
            [program, "verify", "--man=no", str(copy)],
            [program, "security", "--no-pager", "--offline=yes", threshold, str(copy)],
        )
        codes = []
        for command in commands:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                print(done.stdout + done.stderr)
            codes.append(done.returncode)
    return max(codes)


def main(arguments: Sequence[str]) -> int:
    """Run the checks; return 1 if there are findings."""
    if len(arguments) == 2 and arguments[0] == "verify":
        return verify(arguments[1])
    findings = list(
        unit_findings(
            (FOLDER / UNIT).read_text("utf-8"), (FOLDER / "settings.env").read_text("utf-8")
        )
    )
    print("\n".join(findings) or f"{UNIT} agrees with the server")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
