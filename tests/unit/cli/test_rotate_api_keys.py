"""Tests of `keys rotate` for API keys: the successor, the end of the old key, and the file."""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from dynamodb_processor_server.auth.api_keys import KeyRing
from dynamodb_processor_server.auth.keys_file import KeysFile, digest_of
from dynamodb_processor_server.cli import keys as command
from dynamodb_processor_server.cli.rotate_keys import rotate
from dynamodb_processor_server.config_files import ConfigDocument
from dynamodb_processor_server.errors import ConfigurationError, Unauthenticated
from tests.support.backends import REGION
from tests.support.secrets_manager import ENDPOINT, SecretsManagerServer

_NOW: Final = datetime(2027, 1, 2, 12, tzinfo=UTC).timestamp()
_HOUR: Final = 3_600.0
_FILE: Final = f"""\
# Ours.
keys:
    - id: reports-1    # since 2026
      principal: reports
      digest: "{digest_of("old")}"
      rate_class: large
      tables:
        - flights
        - table: audit    # all of it
          rule: tenant = 'acme' AND NOT hidden = true
          rule_as_filter: true
    - {{id: other, principal: other, digest: '{digest_of("other")}', tables: [flights]}}

# Others.
certificates:
  - {{id: c, principal: c, san: "DNS:c.test", tables: [flights]}}
"""


def run(*arguments: str) -> tuple[str, str]:
    """Run `keys rotate`, which succeeds; return the key that it prints, and its other words."""
    parser = argparse.ArgumentParser()
    command.add_actions(parser, asyncio.run)
    out, err = io.StringIO(), io.StringIO()
    args = parser.parse_args(["rotate", *arguments])
    assert asyncio.run(rotate(args, out, err, lambda: _NOW)) == 0
    return out.getvalue().strip(), err.getvalue()


def ring(text: str) -> KeyRing:
    """Return the keys of a file."""
    return KeyRing.build(ConfigDocument(Path("k"), text.encode()))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A keys file."""
    file = tmp_path / "keys.yaml"
    file.write_text(_FILE)
    return file


def test_the_successor_has_the_same_rights(path: Path) -> None:
    """The old key is valid for the overlap; the rest of the file stays as it was."""
    key, said = run("--keys", str(path), "--key", "reports-1", "--overlap", "1h")
    text = path.read_text()
    keys = ring(text)
    old, new = keys.authenticate("old", _NOW + _HOUR - 1), keys.authenticate(key, _NOW + _HOUR)
    assert (new.name, new.roles, new.grants, new.rate_class) == (
        old.name, old.roles, old.grants, old.rate_class,
    )  # fmt: skip
    assert (new.key_id, new.expires) == ("reports-2", float("inf"))
    with pytest.raises(Unauthenticated):
        keys.authenticate("old", _NOW + _HOUR)
    for part in ("# Ours.\n", "# since 2026", "# all of it", _FILE[_FILE.index("    - {id") :]):
        assert part in text
    assert said.splitlines() == [
        f"{path}: adding reports-2. The key, shown this once:",
        "reports-1 ends at 2027-01-02T13:00:00Z; next: give the new key to reports before",
    ]


_OLD: Final = digest_of("old")
_FORMS: Final = {
    "margin": f"keys:\n- id: a\n  principal: p\n  digest: '{_OLD}'\n  tables: [t]\n",
    "no line end": f"keys:\n- id: a\n  principal: p\n  digest: '{_OLD}'\n  tables: [t]",
    "braces": f"keys:\n  - {{id: a, principal: p, digest: '{_OLD}', tables: [t]}}  # x\n",
    "brackets": f"keys: [{{id: a, principal: p, digest: '{_OLD}', tables: [t]}}]\n",
    "json": json.dumps({"keys": [{"id": "a", "principal": "p", "digest": _OLD, "tables": ["t"]}]}),
    "wide": f"keys:\n  -   principal: p\n      digest: '{_OLD}'\n      tables: [t]\n      id: a\n",
    "others behind": f"keys:\n  - principal: p\n    id: a\n    digest: '{_OLD}'\n    tables:\n"
    "      - t\n\ncertificates: []\n",
}


@pytest.mark.parametrize("text", _FORMS.values(), ids=_FORMS)
def test_every_form_of_a_file_can_be_edited(tmp_path: Path, text: str) -> None:
    """Lists with and without brackets and indentation, and JSON, which is YAML too."""
    file = tmp_path / "keys.yaml"
    file.write_text(text)
    key, _ = run("--keys", str(file), "--key", "a", "--id", "b")
    keys = ring(file.read_text())
    assert keys.authenticate(key, _NOW).key_id == "b"
    assert keys.authenticate("old", _NOW).key_id == "a"


@pytest.mark.parametrize(
    ("ends", "then"),
    [("2027-01-02T12:30:00Z", "2027-01-02T12:30:00Z"), ("2030-01-01", "2027-01-02T13:00:00Z")],
)
def test_a_key_with_an_end_ends_no_later(path: Path, ends: str, then: str) -> None:
    """Its successor needs an end of its own."""
    ends_at = ends if "T" in ends else f"{ends}T00:00:00Z"
    line = f"expires: {ends_at}\n      principal: reports\n"
    path.write_text(_FILE.replace("principal: reports\n", line))
    arguments = ("--keys", str(path), "--key", "reports-1", "--overlap", "1h")
    with pytest.raises(ConfigurationError, match="--expires: reports-1 has an end"):
        run(*arguments)
    key, said = run(*arguments, "--expires", "2999-01-01")
    assert f"reports-1 ends at {then}" in said
    old, new, _ = ConfigDocument.read(path).parse(KeysFile).keys
    assert old.expires == datetime.fromisoformat(then)
    assert new.expires == datetime(2999, 1, 1, tzinfo=UTC)
    assert ring(path.read_text()).authenticate(key, _NOW).key_id == "reports-2"


def test_a_dry_run_makes_no_key(path: Path) -> None:
    """It says the ids and the end."""
    key, said = run("--keys", str(path), "--key", "reports-1", "--dry-run")
    assert key == ""
    assert path.read_text() == _FILE
    assert said == (f"{path}: would add reports-2; reports-1 would end at 2027-01-09T12:00:00Z\n")


def test_a_keys_file_in_a_secret_is_edited(
    secrets_manager: SecretsManagerServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new version has the comments of the old one."""
    monkeypatch.setenv(ENDPOINT, secrets_manager.url)
    monkeypatch.setenv("AWS_REGION", REGION)
    name = f"ddb/{uuid.uuid4().hex}"
    secrets_manager.create(name, _FILE)
    key, _ = run("--keys-secret", name, "--key", "other")
    text = secrets_manager.get(name)
    assert "# since 2026" in text
    assert ring(text).authenticate(key, _NOW).name == "other"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--key: give the id of the API key to replace"),
        (("--key", "nobody"), "--key: there is no API key nobody"),
        (("--key", "c"), "--key: there is no API key c"),  # it is a certificate
        (("--key", "reports-1", "--id", "other"), "--id: other is in the file already"),
        (("--key", "reports-1", "--id", "a b"), "cannot be edited"),
    ],
)
def test_a_wrong_argument_is_refused(path: Path, arguments: tuple[str, ...], words: str) -> None:
    """The file stays as it is."""
    with pytest.raises(ConfigurationError, match=words):
        run("--keys", str(path), *arguments)
    assert path.read_text() == _FILE


def test_a_key_that_nobody_saw_is_not_added(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If standard output takes no text, the file stays as it is."""
    parser = argparse.ArgumentParser()
    command.add_actions(parser, asyncio.run)
    args = parser.parse_args(["rotate", "--keys", str(path), "--key", "reports-1"])
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        err = io.StringIO()
        assert asyncio.run(rotate(args, full, err, lambda: _NOW)) == 1
    assert "no key was created" in err.getvalue()
    assert path.read_text() == _FILE


@pytest.mark.parametrize("text", ["soon", "0", "-1s"])
def test_a_wrong_duration_is_a_usage_error(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The message says which texts are durations."""
    parser = argparse.ArgumentParser()
    command.add_actions(parser, asyncio.run)
    with pytest.raises(SystemExit):
        parser.parse_args(["rotate", "--keys", "k", f"--overlap={text}"])
    assert "seconds" in capsys.readouterr().err
