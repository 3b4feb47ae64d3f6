"""Tests of `config` and `serve` with secrets that are wrong, or that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from dynamodb_processor_server.__main__ import main
from tests.support.access import token_keys
from tests.support.processes import start_command
from tests.unit.cli.server_files import files


@pytest.mark.parametrize("command", ["config", "serve"])
def test_bad_token_keys_are_reported(tmp_path: Path, command: str) -> None:
    """The checking command and the server both report them."""
    server = start_command(
        [command, *files(tmp_path, {"events": None})],
        env={"DYNAMODB_PROCESSOR_TOKEN_KEYS": "first:not-a-key-but-secret"},
    )
    assert server.wait() == 2
    assert "token_keys: key 1 is not 32 bytes in base64url" in server.output
    assert "not-a-key-but-secret" not in server.output


def test_config_names_the_token_keys_of_a_file(
    tmp_path: Path, dynamodb_local: str, table: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says which key encrypts, and which one will; the keys themselves are not shown."""
    keys = tmp_path / "token-keys"
    keys.write_text(f"{token_keys('new')}@2999-01-01T00:00:00Z,{token_keys('now', 'old')}\n")
    flags = [*files(tmp_path, {"events": {"table": table}}), f"--endpoint-url={dynamodb_local}"]
    assert main(["config", *flags, f"--token-keys-file={keys}"]) == 0
    output = capsys.readouterr().out
    shown = yaml.safe_load(output)
    assert shown["token_keys"] == {
        "new": "decrypts, and encrypts from 2999-01-01T00:00:00Z on",
        "now": "encrypts and decrypts",
        "old": "decrypts",
    }
    assert shown["settings"]["token_keys_file"] == str(keys)
    assert not any(entry.partition(":")[2][:12] in output for entry in keys.read_text().split(","))


@pytest.mark.parametrize("command", ["config", "serve"])
def test_a_secret_that_cannot_be_read_now_ends_with_1(tmp_path: Path, command: str) -> None:
    """A supervisor may start the process again; a wrong setting ends it with code 2."""
    server = start_command(
        [command, *files(tmp_path, {"events": None}), "--token-keys-secret=ddb/token-keys"],
        env={"AWS_ENDPOINT_URL_SECRETS_MANAGER": "http://127.0.0.1:1"},
    )
    assert server.wait() == 1
    line = "ddb/token-keys: token_keys_secret: Secrets Manager cannot be reached: "
    assert line in server.output
    assert "Traceback" not in server.output
