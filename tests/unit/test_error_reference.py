"""The page of errors is complete: every reason that is sent, and no other."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Final, get_args

import pytest

from dynamodb_processor_server.errors import (
    BearerTokenReason,
    BearerTokenRefused,
    PreconditionFailed,
    PreconditionReason,
)
from dynamodb_processor_server.rpc.encode.status import CODES

_ROOT: Final = Path(__file__).parents[2]
_PAGE: Final = (_ROOT / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
_ROWS: Final = re.findall(
    r"^\| \[`([A-Z_]+)`\]\(#([a-z_]+)\) \| `([A-Z_]+)` \| \S.* \|$", _PAGE, re.MULTILINE
)
# Errors whose reasons are those of a type, and not one of their own.
_REASONS: Final = {PreconditionFailed: PreconditionReason, BearerTokenRefused: BearerTokenReason}
_INTERNAL: Final = ("INTERNAL", "INTERNAL")  # for every error that is not in the table


def sent() -> set[tuple[str, str]]:
    """Return every pair of a reason and a status that the service sends."""
    return {_INTERNAL} | {
        (reason, status.name)
        for kind, status in CODES
        for reason in (get_args(_REASONS[kind]) if kind in _REASONS else (kind.reason,))
    }


def section(reason: str) -> str:
    """Return the page's section of a reason."""
    _, _, rest = _PAGE.partition(f"\n### {reason}\n")
    return re.split(r"\n##", rest, maxsplit=1)[0]


@pytest.mark.parametrize(("reason", "status"), sorted(sent()))
def test_a_reason_is_on_the_page_with_its_status(reason: str, status: str) -> None:
    """The table names it, and its section has causes with a next step for each."""
    assert (reason, reason.lower(), status) in _ROWS
    causes = re.findall(r"^\| [^|]*\w.* \| \S.* \|$", section(reason), re.MULTILINE)
    assert len(causes) >= 2, "a header and a cause"


def test_the_page_names_no_reason_that_is_never_sent() -> None:
    """An entry goes with its code."""
    assert {(reason, status) for reason, _, status in _ROWS} == sent()
    headings = re.findall(r"^### (.+)$", _PAGE, re.MULTILINE)
    assert sorted(headings) == sorted({reason for reason, _ in sent()})


def test_the_reasons_of_the_python_client_are_on_the_page() -> None:
    """They are those with which its modules make errors."""
    made = {
        keyword.value.value
        for file in (_ROOT / "clients" / "python").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "reason"
        and isinstance(keyword.value, ast.Constant)
        and keyword.value.value
    }
    assert made == _reasons_of("Python")


def test_the_reasons_of_the_typescript_client_are_on_the_page() -> None:
    """They are those with which its modules make errors; most are those of the Python client."""
    sources = (_ROOT / "clients/typescript/src").glob("*.ts")
    made = {
        reason
        for file in sources
        for reason in re.findall(r'\breason: "([A-Z_]+)"', file.read_text(encoding="utf-8"))
    }
    # Without threads, a stream is not closed while its call is opened.
    assert made == _reasons_of("TypeScript") | _reasons_of("Python") - {"STREAM_CLOSED"}


def _reasons_of(client: str) -> set[str]:
    """Return the reasons in the page's section of a client."""
    _, _, rest = _PAGE.partition(f"\n## Reasons of the {client} client\n")
    written = rest.partition("\n## ")[0]
    return set(re.findall(r"^\| `([A-Z_]+)` \|", written, re.MULTILINE))
