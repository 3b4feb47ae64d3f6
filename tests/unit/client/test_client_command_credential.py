"""The credential of `ddbq`: an API key or a bearer token, from an option or the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.fake_service import FakeService
from tests.unit.client.commands import Run


def sent(service: FakeService) -> list[tuple[object, object]]:
    """Return the API key and the token of each call."""
    return [(one.get("x-api-key"), one.get("authorization")) for one in service.metadata]


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    """A file with a token, as an agent writes it."""
    file = tmp_path / "token"
    file.write_text("f.f.f\n")
    return file


async def test_a_token_comes_from_the_environment(
    run: Run, service: FakeService, environment: dict[str, str]
) -> None:
    """No option takes it: every user of a machine can see its command lines."""
    del environment["DDBQ_API_KEY"]
    environment["DDBQ_BEARER_TOKEN"] = "e.e.e"
    assert (await run("query", "numbers")).status == 0
    assert sent(service) == [(None, "Bearer e.e.e")]


async def test_a_token_comes_from_a_file(
    run: Run, service: FakeService, environment: dict[str, str], token_file: Path
) -> None:
    """The option counts before the API key of the environment."""
    assert (await run("query", "numbers", "--bearer-token-file", str(token_file))).status == 0
    del environment["DDBQ_API_KEY"]
    environment["DDBQ_BEARER_TOKEN_FILE"] = str(token_file)
    assert (await run("query", "numbers")).status == 0
    assert sent(service) == [(None, "Bearer f.f.f")] * 2


@pytest.mark.parametrize(
    ("variables", "options", "error"),
    [
        (
            {"DDBQ_BEARER_TOKEN": "a"},
            (),
            "DDBQ_API_KEY and DDBQ_BEARER_TOKEN are set: keep one, or give an option",
        ),
        (
            {},
            ("--api-key", "a", "--bearer-token-file", "{file}"),
            "give --api-key or --bearer-token-file, not both",
        ),
        (
            {},
            ("--bearer-token-file", "{file}-missing"),
            "--bearer-token-file: {file}-missing cannot be read: No such file or directory",
        ),
        (
            {"DDBQ_API_KEY": "", "DDBQ_BEARER_TOKEN_FILE": "/dev/null"},
            (),
            "DDBQ_BEARER_TOKEN_FILE: /dev/null is empty",
        ),
    ],
)
async def test_a_doubtful_credential_is_an_error_of_usage(
    run: Run,
    service: FakeService,
    environment: dict[str, str],
    token_file: Path,
    variables: dict[str, str],
    options: tuple[str, ...],
    error: str,
) -> None:
    """Nothing is sent, and the error names the options or variables."""
    environment |= variables
    given = [option.format(file=token_file) for option in options]
    outcome = await run("query", "numbers", *given)
    assert outcome.status == 2
    assert error.format(file=token_file) in outcome.errors
    assert sent(service) == []
