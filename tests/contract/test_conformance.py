"""The Python client makes every call of the conformance kit in tests/cases/contract."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from tests.support.conformance import Case, KitServer, load_cases, open_kit_server
from tests.support.conformance_checks import check
from tests.support.conformance_faces import Face, open_face
from tests.support.conformance_runner import check_resumption, outcome_of
from tests.support.threaded_client import FACTORIES

pytestmark = pytest.mark.asyncio(loop_scope="module")

_CASES: Final = load_cases()
_ROOT: Final = Path(__file__).parents[2]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kit_server(
    tmp_path_factory: pytest.TempPathFactory, dynamodb_local: str
) -> AsyncIterator[KitServer]:
    """The server of the kit."""
    directory = tmp_path_factory.mktemp("kit")
    async with open_kit_server(directory, dynamodb_local) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=list(FACTORIES))
async def face(request: pytest.FixtureRequest, kit_server: KitServer) -> AsyncIterator[Face]:
    """A face of the client."""
    async with open_face(request.param, kit_server) as opened:
        yield opened


@pytest.mark.parametrize("case", _CASES, ids=str)
async def test_a_case_has_its_outcome(kit_server: KitServer, face: Face, case: Case) -> None:
    """The call has the items, pages, tokens, values or error that the case states."""
    outcome = await outcome_of(case, face, kit_server)
    check(case, outcome)
    if case.resume:
        await check_resumption(case, face, outcome)


async def test_each_reason_is_in_the_kit() -> None:
    """A reason of the table in docs/reference/errors.md is in a case, or the kit says why not."""
    page = (_ROOT / "docs/reference/errors.md").read_text("utf-8")
    table = page.split("## All reasons")[1].split("\n## ")[0]
    listed = set(re.findall(r"^\| \[`(\w+)`\]", table, re.MULTILINE))
    covered = {case.expect["error"].get("reason") for case in _CASES if "error" in case.expect}
    readme = (_ROOT / "tests/cases/contract/README.md").read_text("utf-8")
    reasons = re.compile(r"^\| `([A-Z_]+)`", re.MULTILINE)
    left_out = set(reasons.findall(readme.split("## Not in the kit")[1]))
    assert listed - covered == left_out


async def test_names_of_cases_are_unique() -> None:
    """A runner of another language lists the cases by name."""
    names = [case.name for case in _CASES]
    assert len(names) == len(set(names))
