"""Tests of the exit codes of `ddbq`, and of its start without optional libraries."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from dynamodb_processor_client.connection_errors import CAUSES
from dynamodb_processor_client.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    QueryError,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)
from dynamodb_processor_client.exit_codes import EXIT_CODES, FAILED, TEMPORARY, exit_code_of
from tests.support.fake_service import Failure, FakeService
from tests.unit.client.commands import Run

_GUIDE = Path(__file__).parents[3] / "docs" / "guide" / "cli.md"
# Modules that only some commands need, or that take long to import.
_OPTIONAL = {"pyarrow", "shtab", "readline", "tomllib", "hashlib", "pandas", "polars"}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Unavailable("connections to all backends failing"), TEMPORARY),
        (ResourceExhausted("enough"), TEMPORARY),
        (DeadlineExceeded("late"), TEMPORARY),
        (Unavailable("go away", may_retry=False), FAILED),
        *((Unavailable(f"{cause}: handshake failed"), FAILED) for cause in sorted(CAUSES)),
        (InvalidArgument("no"), FAILED),
        (Unauthenticated("no"), FAILED),
        (PermissionDenied("no"), FAILED),
        (NotFound("no"), FAILED),
        (FailedPrecondition("no"), FAILED),
        (Internal("no"), FAILED),
        (QueryError("no"), FAILED),
    ],
)
def test_the_code_of_an_error(error: QueryError, code: int) -> None:
    """Errors that may pass have a code of their own; a wrong certificate does not pass."""
    assert exit_code_of(error) == code


async def test_a_temporary_failure(run: Run, service: FakeService) -> None:
    """A command ends with 75 if the server's limit is reached, or its own time is over."""
    service.failures.append(Failure(grpc.StatusCode.RESOURCE_EXHAUSTED))
    assert (await run("query", "numbers")).status == 75
    service.hang_after = 1
    assert (await run("stream", "numbers", "--timeout", "0.5")).status == 75


def test_the_guide_has_every_code() -> None:
    """The table of the guide and the text of `--help` have the same codes."""
    section = _GUIDE.read_text("utf-8").partition("## Exit codes")[2].partition("\n## ")[0]
    in_guide = re.findall(r"^\| (\d+) \|", section, re.MULTILINE)
    assert in_guide == re.findall(r"^  (\d+)  ", EXIT_CODES, re.MULTILINE)


def test_a_command_starts_without_optional_modules() -> None:
    """A plain command imports nothing that only exports, profiles or the shell need."""
    program = "import sys, dynamodb_processor_client.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    imported = {name.partition(".")[0] for name in done.stdout.decode().split()}
    assert not imported & _OPTIONAL
    exports = "dynamodb_processor_client.exports."
    ours = {name for name in done.stdout.decode().split() if name.startswith(exports)}
    assert ours == {f"{exports}errors", f"{exports}text_forms"}
