"""Tests of the `keys create` command."""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dynamodb_processor_server.auth.api_keys import KeyRing
from dynamodb_processor_server.auth.grants import Grant
from dynamodb_processor_server.auth.keys_file import KeyEntry, KeysFile
from dynamodb_processor_server.cli import keys as command
from dynamodb_processor_server.config_files import ConfigDocument
from dynamodb_processor_server.setting_types import token_key_ring
from tests.support.processes import clean_environment

_ARGS = ("--id", "r-1", "--principal", "reports", "--table", "flights")


def create(*args: str) -> tuple[int, str, str]:
    """Run the command; return its exit code and its output."""
    parser = argparse.ArgumentParser()
    command.add_actions(parser, asyncio.run)
    parsed = parser.parse_args(["create", *args])
    out, err = io.StringIO(), io.StringIO()
    return command.run(parsed, out, err), out.getvalue(), err.getvalue()


def keys_in(path: Path) -> tuple[KeyEntry, ...]:
    """Return the entries of a keys file."""
    return ConfigDocument.read(path).parse(KeysFile).keys


def test_the_key_is_printed_and_the_entry_makes_it_valid() -> None:
    """Standard output has only the key; the printed entry makes the server accept it."""
    code, out, err = create(*_ARGS, "--table", "audit-*", "--role", "admin", "--role", "reader")
    entry = err.split("\n\n")[1]
    ring = KeyRing.build(ConfigDocument(Path("k"), f"keys:\n{entry}".encode()))
    caller = ring.authenticate(out.rstrip("\n"), 0)
    assert code == 0
    assert caller.grants == (Grant("flights"), Grant("audit-*"))
    assert caller.roles == {"reader", "admin"}
    assert out.strip() not in err


def test_appending_keeps_the_rest_of_the_file(tmp_path: Path) -> None:
    """Comments, order and indentation stay; so do the file's mode and a link to it."""
    real, path = tmp_path / "real.yaml", tmp_path / "keys.yaml"
    path.symlink_to("real.yaml")
    assert create(*_ARGS, "--append", str(path))[0] == 0
    indented = real.read_text().replace("\n  ", "\n      ")
    before = f"# Ours.\n{indented}      # The end.\n\n"
    real.write_text(before)
    real.chmod(0o640)
    code, out, err = create(
        "--id", "r-2", "--principal", "x", "--table", "*", "--append", str(path),
        "--expires", "2999-01-01", "--rate-class", "large",
    )  # fmt: skip
    assert (code, err) == (0, f"Adding r-2 to {path}. The key, shown this once:\n")
    assert real.read_text().startswith(before.rstrip())
    assert path.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    keys = keys_in(path)
    assert [key.id for key in keys] == ["r-1", "r-2"]
    assert str(keys[1].expires) == "2999-01-01 00:00:00+00:00"
    assert keys[1].rate_class == "large"
    assert KeyRing.of(KeysFile(keys=keys)).authenticate(out.strip(), 0).key_id == "r-2"
    assert [each.name for each in tmp_path.iterdir() if each not in (real, path)] == []


@pytest.mark.parametrize("empty", ["keys: []\n", "keys: [ ]  # none yet\n", "keys:\n  []"])
def test_an_empty_list_can_be_appended_to(tmp_path: Path, empty: str) -> None:
    """The entry replaces the brackets."""
    path = tmp_path / "keys.yaml"
    path.write_text(empty)
    assert create(*_ARGS, "--append", str(path))[0] == 0
    assert [key.id for key in keys_in(path)] == ["r-1"]


def test_a_list_without_indentation_can_be_appended_to(tmp_path: Path) -> None:
    """YAML allows list items at the margin."""
    path = tmp_path / "keys.yaml"
    create(*_ARGS, "--append", str(path))
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text())))
    assert "\n- " in path.read_text()
    assert create(*("--id", "r-2", *_ARGS[2:]), "--append", str(path))[0] == 0
    assert len(keys_in(path)) == 2


_CERTIFICATES = """\
# callers with certificates
certificates:
  - {id: reports-1, principal: p, san: "DNS:a.test", tables: [t]}  # the first
"""


@pytest.mark.parametrize("form", ["keys: []\n{}", "{}keys: []\n", "keys:\n  - {{{key}}}\n\n{}"])
def test_a_file_with_certificates_can_be_appended_to(tmp_path: Path, form: str) -> None:
    """The key follows the other keys, and the rest of the file stays as it is."""
    path = tmp_path / "keys.yaml"
    key = f"id: a, principal: p, digest: 'sha256:{'0' * 64}', tables: [t]"
    path.write_text(form.format(_CERTIFICATES, key=key))
    assert create(*_ARGS[2:], "--append", str(path))[0] == 0
    assert [key.id for key in keys_in(path)][-1] == "reports-2"
    assert _CERTIFICATES in path.read_text()


def test_an_id_is_given_once(tmp_path: Path) -> None:
    """A second key of the same id is refused, and the file stays as it is."""
    path = tmp_path / "keys.yaml"
    create(*_ARGS, "--append", str(path))
    before = path.read_bytes()
    code, out, err = create(*_ARGS, "--append", str(path))
    assert (code, out) == (2, "")
    assert err == f"{path}: --id: r-1 is in the file already\n"
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ("{{keys: [{entry}]}}\n", "cannot be appended to; run without --append"),
        ("keys: [{entry}]\n", "cannot be appended to; run without --append"),
        ("keys:\n  - {entry}\n...\n", "cannot be appended to; run without --append"),
        ("<<: {{keys: []}}\nkeys: [{entry}]\n", "cannot be appended to; run without --append"),
        ("keys: [{entry}]\nmore: 1\n", "2: more: is not a field that is known here"),
    ],
)
def test_a_file_that_cannot_be_appended_to_stays_as_it_is(
    tmp_path: Path, form: str, reason: str
) -> None:
    """The error says so, no key is shown, and nothing changes."""
    path = tmp_path / "keys.yaml"
    path.write_text(
        form.format(entry=f"{{id: a, principal: p, digest: 'sha256:{'0' * 64}', tables: [t]}}")
    )
    before = path.read_bytes()
    code, out, err = create(*_ARGS, "--append", str(path))
    assert (code, out) == (2, "")
    assert path.read_bytes() == before
    assert str(path) in err
    assert reason in err


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """The error names the file and the system's reason."""
    code, out, err = create(*_ARGS, "--append", str(tmp_path / "none" / "keys.yaml"))
    assert (code, out) == (2, "")
    assert "cannot be written: No such file or directory" in err


@pytest.mark.parametrize("action", ["create", "token-key"])
def test_a_key_that_nobody_reads_is_not_created(tmp_path: Path, action: str) -> None:
    """The reader of the pipe has ended, as `true` does: the file stays as it is."""
    path = tmp_path / "keys.yaml"
    options = [*_ARGS, "--append", str(path)] if action == "create" else []
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "dynamodb_processor_server", "keys", action, *options],
        env=clean_environment(),
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(writer)
    assert done.returncode == 1
    assert "standard output cannot be written: Broken pipe" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_invalid_options_are_named() -> None:
    """Options that would make an invalid entry are all named at once."""
    code, out, err = create("--id", "a b", "--principal", "p", "--table", "x y", "--table", "z")
    assert (code, out) == (2, "")
    assert [line.split(":")[0] for line in err.splitlines()] == ["--id", "--table"]


@pytest.mark.parametrize(
    ("expires", "reason"), [("2001-01-01", "this is in the past"), ("soon", "this is no ISO 8601")]
)
def test_senseless_expiry_is_refused(
    expires: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A key that is expired when it is created, or a text that is no time, is a usage error."""
    with pytest.raises(SystemExit):
        create(*_ARGS, "--expires", expires)
    assert reason in capsys.readouterr().err


def test_the_streams_of_the_process_are_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints the key to standard output, for a shell's substitution."""
    parser = argparse.ArgumentParser()
    command.add_actions(parser, asyncio.run)
    parsed = parser.parse_args(["create", *_ARGS])
    assert parsed.run(parsed) == 0
    assert capsys.readouterr().out.startswith("ddbp_")


def test_an_id_is_made_from_the_principal(tmp_path: Path) -> None:
    """The id has the first number that the file does not have, so a short command works."""
    path = tmp_path / "keys.yaml"
    for _ in range(2):
        assert create(*_ARGS[2:], "--append", str(path))[0] == 0
    assert [key.id for key in keys_in(path)] == [
        "reports-1",
        "reports-2",
    ]


def test_a_token_key_fits_the_setting(capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output has only one entry of `token_keys`, a new one each time."""
    parser = argparse.ArgumentParser()
    command.add_actions(parser, asyncio.run)
    entries = []
    for arguments in (["token-key", "--id", "first"], ["token-key"]):
        parsed = parser.parse_args(arguments)
        assert parsed.run(parsed) == 0
        entries.append(capsys.readouterr().out.rstrip("\n"))
    first, second = token_key_ring(",".join(entries))
    assert first.key_id == "first"
    assert first.secret != second.secret


@pytest.mark.parametrize("name", ["", "a:b", "a,b", "x" * 33])
def test_a_token_keys_id_fits_the_setting(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An id that would break the setting's text is a usage error."""
    parser = argparse.ArgumentParser()
    command.add_actions(parser, asyncio.run)
    with pytest.raises(SystemExit):
        parser.parse_args(["token-key", "--id", name])
    assert "must be 1 to 32 of the characters" in capsys.readouterr().err
