"""Tests of `keys rotate` for token keys: which keys it adds, keeps and removes."""

from __future__ import annotations

import argparse
import asyncio
import io
import stat
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from dynamodb_processor_server.cli import keys as command
from dynamodb_processor_server.cli.rotate_keys import rotate
from dynamodb_processor_server.cli.token_keys_text import rotated_token_keys, time_text
from dynamodb_processor_server.errors import ConfigurationError
from dynamodb_processor_server.setting_types import token_key_ring
from tests.support.access import token_keys
from tests.support.backends import REGION
from tests.support.secrets_manager import ENDPOINT, SecretsManagerServer

_DAY: Final = 86_400.0
_NOW: Final = datetime(2027, 1, 2, 12, tzinfo=UTC).timestamp()


def run(*arguments: str, now: float = _NOW) -> str:
    """Run `keys rotate`, which succeeds; return what it says."""
    parser = argparse.ArgumentParser()
    command.add_actions(parser, asyncio.run)
    out, err = io.StringIO(), io.StringIO()
    args = parser.parse_args(["rotate", *arguments])
    assert asyncio.run(rotate(args, out, err, lambda: now)) == 0
    assert out.getvalue() == ""
    return err.getvalue()


def at(hours: float, key: str) -> str:
    """Return a key that encrypts from so many hours after now."""
    return f"{token_keys(key)}@{time_text(_NOW + hours * 3_600)}"


def test_the_new_key_comes_first_and_waits(tmp_path: Path) -> None:
    """It decrypts at once and encrypts later; the earlier keys stay as they were written."""
    path = tmp_path / "token-keys"
    path.write_text(token_keys("b", "a") + "\n")
    path.chmod(0o640)
    said = run("--token-keys-file", str(path), "--delay", "5m")
    new, *others = token_key_ring(path.read_text().strip())
    assert (new.key_id, new.encrypts_from) == ("2027-01-02", _NOW + 300)
    assert tuple(others) == token_key_ring(token_keys("b", "a"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [one.name for one in tmp_path.iterdir()] == ["token-keys"]
    assert said.splitlines()[:2] == [
        f"{path}: added the key 2027-01-02, which encrypts from 2027-01-02T12:05:00Z on",
        "kept, to decrypt: b, a",
    ]
    assert "next: before 2027-01-02T12:05:00Z" in said
    assert not any(entry.partition(":")[2][:12] in said for entry in path.read_text().split(","))


def test_the_first_key_encrypts_at_once(tmp_path: Path) -> None:
    """There is no other; nobody else may read the new file."""
    path = tmp_path / "token-keys"
    said = run("--token-keys-file", str(path), "--id", "first")
    (key,) = token_key_ring(path.read_text().strip())
    assert (key.key_id, key.encrypts_from) == ("first", float("-inf"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert said == f"{path}: added the key first, which encrypts at once\n"


def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    """It says the ids and the time, and makes no key."""
    path = tmp_path / "token-keys"
    path.write_text(token_keys("a"))
    said = run("--token-keys-file", str(path), "--dry-run")
    assert path.read_text() == token_keys("a")
    assert said.startswith(f"{path}: would add the key 2027-01-02, which encrypts from ")
    assert "next:" not in said


def test_a_secret_gets_a_new_version(
    secrets_manager: SecretsManagerServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The earlier version stays in Secrets Manager. A dry run puts none."""
    monkeypatch.setenv(ENDPOINT, secrets_manager.url)
    monkeypatch.setenv("AWS_REGION", REGION)
    name = f"ddb/{uuid.uuid4().hex}"
    secrets_manager.create(name, token_keys("a"))
    run("--token-keys-secret", name, "--dry-run")
    assert secrets_manager.versions(name) == 1
    said = run("--token-keys-secret", name)
    assert secrets_manager.versions(name) == 2
    ids = [key.key_id for key in token_key_ring(secrets_manager.get(name).strip())]
    assert ids == ["2027-01-02", "a"]
    assert said.startswith(f"{name}: added the key 2027-01-02")


def test_a_secret_that_cannot_be_read_is_named(
    secrets_manager: SecretsManagerServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A secret is not created: its name may be mistyped."""
    monkeypatch.setenv(ENDPOINT, secrets_manager.url)
    monkeypatch.setenv("AWS_REGION", REGION)
    with pytest.raises(ConfigurationError, match="ddb/none: token_keys_secret: ResourceNotFound"):
        run("--token-keys-secret", "ddb/none")


_MARGIN: Final = timedelta(minutes=5).total_seconds()


@pytest.mark.parametrize(
    ("keys", "kept", "removed"),
    [
        (f"{at(-23, 'b')},{token_keys('a')}", ("b", "a"), ()),
        (f"{at(-24, 'b')},{token_keys('a')}", ("b", "a"), ()),  # clocks may differ
        (f"{at(-25, 'b')},{token_keys('a')}", ("b",), ("a",)),
        (f"{at(-1, 'c')},{at(-25, 'b')},{token_keys('a')}", ("c", "b"), ("a",)),
        (f"{at(-25, 'c')},{token_keys('b', 'a')}", ("c",), ("b", "a")),
        (token_keys("c", "b", "a"), ("c", "b", "a"), ()),  # nobody knows since when
    ],
)
def test_keys_are_removed_when_their_tokens_have_expired(
    keys: str, kept: tuple[str, ...], removed: tuple[str, ...]
) -> None:
    """A key encrypted until the one before it did, and its tokens live for a day after that."""
    rotated = rotated_token_keys(keys, "new", _NOW, 600.0, _DAY)
    assert (rotated.kept, rotated.removed) == (kept, removed)
    assert [key.key_id for key in token_key_ring(rotated.text)] == ["new", *kept]


def test_rotations_do_not_overtake_each_other() -> None:
    """While the key of the last rotation does not encrypt yet, another one is refused."""
    keys = f"{at(0.1, 'b')},{token_keys('a')}"
    with pytest.raises(ConfigurationError, match="the key b encrypts only from 2027-01-02T12:06"):
        rotated_token_keys(keys, None, _NOW, 600.0, _DAY)


@pytest.mark.parametrize(
    ("keys", "key_id", "added"),
    [("2027-01-02", None, "2027-01-02-2"), ("a", None, "2027-01-02"), ("a", "b", "b")],
)
def test_the_new_key_has_an_id_of_its_own(keys: str, key_id: str | None, added: str) -> None:
    """Today's date, with a number if it is taken, or the given one."""
    assert rotated_token_keys(token_keys(keys), key_id, _NOW, 0.0, _DAY).added == added


def test_a_taken_id_is_refused() -> None:
    """Two keys with one id would be refused by the server."""
    with pytest.raises(ConfigurationError, match="--id: there is a key a already"):
        rotated_token_keys(token_keys("a"), "a", _NOW, 600.0, _DAY)


def test_a_file_with_an_error_is_refused_without_showing_it(tmp_path: Path) -> None:
    """The file stays as it is."""
    path = tmp_path / "token-keys"
    path.write_text("a:half-a-secret")
    with pytest.raises(ConfigurationError, match="key 1 is not 32 bytes") as caught:
        run("--token-keys-file", str(path))
    assert "half-a-secret" not in str(caught.value)
    assert path.read_text() == "a:half-a-secret"
