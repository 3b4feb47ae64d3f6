"""Tests of `dynamodb-processor config`, and of settings and files that are wrong."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest
import yaml

from dynamodb_processor_server.__main__ import main
from dynamodb_processor_server.settings import Settings
from tests.support.access import token_keys
from tests.support.backends import REGION
from tests.support.datasets import Index, Schema
from tests.support.dynamodb import create_table, open_client
from tests.support.processes import start_command
from tests.support.redis_server import RedisServer
from tests.support.running import make_key, write_catalog, write_keys
from tests.support.tokens import SigningKey, key_set, write_identity
from tests.unit.cli.server_files import NO_ENDPOINT, files


def test_config_shows_settings_and_tables(
    tmp_path: Path,
    dynamodb_local: str,
    table: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The output has all effective settings, with secrets masked, and the schema of each table."""
    secret = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE"
    monkeypatch.setenv("DYNAMODB_PROCESSOR_TOKEN_KEYS", f"first:{secret}")
    flags = [*files(tmp_path, {"events": {"table": table}}), f"--endpoint-url={dynamodb_local}"]
    assert main(["config", *flags]) == 0
    output = capsys.readouterr().out
    assert secret not in output
    shown = yaml.safe_load(output)
    assert shown["settings"]["token_keys"] == "********"
    assert shown["settings"]["catalog"] == str(tmp_path / "catalog.yaml")
    assert shown["settings"]["endpoint_url"] == dynamodb_local
    assert shown["settings"]["drain_grace"] == 20.0
    # In the form that the setting takes, so that it can be copied and changed.
    classes = shown["settings"]["rate_classes"]
    given: dict[str, Any] = {"catalog": tmp_path, "keys": tmp_path}
    again = Settings(rate_classes=json.dumps(classes), **given)
    assert again.rate_classes == Settings(**given).rate_classes
    assert shown["keys"] == 2
    assert shown["tables"] == {
        "events": f"ok, key user_id, at, 1 index; DynamoDB table {table} in {REGION} at "
        f"{dynamodb_local}"
    }
    assert "notes" not in shown


@pytest.mark.parametrize(
    ("content", "text", "code"),
    [
        (key_set(SigningKey("a"), SigningKey("b")), "2 keys", 0),
        (b"<html></html>", "the key set is not JSON", 1),
        (None, "the key set {directory}/keys.json: cannot be read: No such file or directory", 1),
    ],
)
def test_config_reads_the_key_sets_of_issuers(
    tmp_path: Path,
    dynamodb_local: str,
    table: str,
    capsys: pytest.CaptureFixture[str],
    content: bytes | None,
    text: str,
    code: int,
) -> None:
    """The exit code is 1 if one cannot be used."""
    if content is not None:
        (tmp_path / "keys.json").write_bytes(content)
    identity = tmp_path / "identity.yaml"
    write_identity(identity, {"all": {"tables": ["*"]}}, jwks_file="keys.json")
    flags = [*files(tmp_path, {"events": {"table": table}}), f"--endpoint-url={dynamodb_local}"]
    assert main(["config", *flags, f"--identity={identity}"]) == code
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["issuers"] == {"idp": text.format(directory=tmp_path)}


def test_a_usable_redis_does_not_hide_an_unusable_issuer(
    tmp_path: Path,
    dynamodb_local: str,
    table: str,
    own_redis: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The exit code is 1 if anything cannot be used."""
    monkeypatch.setenv("DYNAMODB_PROCESSOR_REDIS_URL", own_redis.url)
    monkeypatch.setenv("DYNAMODB_PROCESSOR_TOKEN_KEYS", token_keys("first"))
    flags = [*files(tmp_path, {"events": {"table": table}}), f"--endpoint-url={dynamodb_local}"]
    assert main(["config", *flags]) == 0
    identity = tmp_path / "identity.yaml"
    write_identity(identity, {"all": {"tables": ["*"]}}, jwks_file="keys.json")
    assert main(["config", *flags, f"--identity={identity}"]) == 1


def test_config_notes_that_grants_only_warn(
    tmp_path: Path, dynamodb_local: str, table: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It may have been meant for a while only."""
    flags = [*files(tmp_path, {"events": {"table": table}}), f"--endpoint-url={dynamodb_local}"]
    assert main(["config", *flags, "--grants=warn"]) == 0
    notes = yaml.safe_load(capsys.readouterr().out)["notes"]
    assert any(note.startswith("grants: warn serves every table") for note in notes)


def test_config_reports_missing_tables(
    tmp_path: Path, dynamodb_local: str, table: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is 1, and the other tables are described all the same."""
    tables = {"gone": {"table": "main-never-there"}, "events": {"table": table}}
    flags = [*files(tmp_path, tables), f"--endpoint-url={dynamodb_local}"]
    assert main(["config", *flags]) == 1
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["tables"]["gone"] == (
        f"table gone does not exist; DynamoDB table main-never-there in {REGION} at "
        f"{dynamodb_local}"
    )
    assert shown["tables"]["events"].startswith("ok")


def test_config_reports_an_unreachable_dynamodb(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is 1, and the cause and the settings to look at are named."""
    flags = [*files(tmp_path, {"events": None}), f"--endpoint-url={NO_ENDPOINT}"]
    assert main(["config", *flags, "--backend-attempts=1"]) == 1
    output = yaml.safe_load(capsys.readouterr().out)["tables"]["events"]
    assert output.startswith(
        "events cannot be reached at the moment: Connection refused: check that DynamoDB answers "
        "there, --endpoint-url and --region, and the network; "
    )
    assert output.endswith(f"DynamoDB table events in {REGION} at {NO_ENDPOINT}")


def test_config_reports_missing_credentials(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the variables that give them."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    flags = [*files(tmp_path, {"events": None}), f"--endpoint-url={NO_ENDPOINT}"]
    assert main(["config", *flags, "--backend-attempts=1"]) == 1
    output = yaml.safe_load(capsys.readouterr().out)["tables"]["events"]
    assert output.startswith("no AWS credentials were found: set AWS_ACCESS_KEY_ID and")


def test_config_reports_a_missing_stream(
    tmp_path: Path, dynamodb_local: str, table: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The server would serve, and invalidate the whole table repeatedly."""
    config = {"table": table, "invalidate_from_stream": True}
    flags = [*files(tmp_path, {"events": config}), f"--endpoint-url={dynamodb_local}"]
    assert main(["config", *flags, "--single-replica"]) == 1
    output = yaml.safe_load(capsys.readouterr().out)["tables"]["events"]
    assert output.startswith("invalidate_from_stream: the table has no stream")


@pytest.mark.parametrize(
    ("config", "noted"),
    [
        ({}, True),
        ({"keys": {"placed_at": "{day}#{number}"}, "expose_keys": False}, True),
        ({"required": ["placed_at"]}, False),
        ({"sparse": "allow"}, False),
    ],
)
def test_config_reports_an_unused_index_and_its_remedy(
    tmp_path: Path,
    dynamodb_local: str,
    capsys: pytest.CaptureFixture[str],
    config: dict[str, Any],
    noted: bool,
) -> None:
    """The remedy comes before any query, in the catalog's words: an operator may see all of it."""
    name = f"main-{uuid.uuid4().hex[:8]}"
    index = Index("by_status", False, ("status",), ("placed_at",))
    client = open_client(dynamodb_local)
    types = {"order_id": "S", "status": "S", "placed_at": "S"}
    create_table(client, Schema(name, "order_id", None, (index,), types))
    flags = [*files(tmp_path, {"orders": {"table": name} | config}),
             f"--endpoint-url={dynamodb_local}"]  # fmt: skip
    assert main(["config", *flags]) == 0
    client.delete_table(TableName=name)
    client.close()
    notes = yaml.safe_load(capsys.readouterr().out)["notes"]
    found = [note for note in notes if note.startswith("table orders: index by_status")]
    assert len(found) == noted
    for note in found:
        assert note == (
            "table orders: index by_status is not used for queries that fix status alone, because "
            "it holds only items that have placed_at as a non-empty string; ways out: the operator "
            "can set required: [placed_at] in the catalog if every item has it, or sparse: allow "
            "if items without it may be left out; the caller can set index: by_status to accept "
            "that, or compare placed_at with = or IN"
        )


def test_config_reports_an_index_with_a_key_hidden_from_callers(
    tmp_path: Path, dynamodb_local: str, table: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No condition helps then, and neither `required` nor `sparse` does."""
    config = {"table": table, "attributes": ["user_id", "at"], "sparse": "allow"}
    flags = [*files(tmp_path, {"events": config}), f"--endpoint-url={dynamodb_local}"]
    assert main(["config", *flags]) == 0
    notes = yaml.safe_load(capsys.readouterr().out)["notes"]
    (note,) = notes[1:]
    assert note == (
        "table events: index by_kind is not used, because callers do not see kind of its key; "
        "ways out: add what is missing to attributes"
    )


def test_config_reports_discovered_tables(
    tmp_path: Path, dynamodb_local: str, table: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each is reported as if it were named; a table that is named is not reported twice."""
    flags = [*files(tmp_path, {}), f"--endpoint-url={dynamodb_local}"]
    write_catalog(tmp_path / "catalog.yaml", {"discover": [f"{table[:-1]}?"]})
    assert main(["config", *flags]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["tables"] == {}
    assert shown["discovered"][table].startswith("ok, key user_id, at, 1 index; DynamoDB table")
    named = {"tables": {table: None}, "discover": [f"{table[:-1]}?"]}
    write_catalog(tmp_path / "catalog.yaml", named)
    assert main(["config", *flags]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["discovered"] == {}
    flags[-1] = f"--endpoint-url={NO_ENDPOINT}"
    assert main(["config", *flags, "--backend-attempts=1"]) == 1
    output = yaml.safe_load(capsys.readouterr().out)["discovered"]["discover"]
    assert output.startswith("the tables cannot be listed: ")


def test_config_reports_keys_without_effect(
    tmp_path: Path, dynamodb_local: str, table: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table's name was mistyped, or the table left the catalog."""
    flags = [*files(tmp_path, {"events": {"table": table}}), f"--endpoint-url={dynamodb_local}"]
    write_keys(
        tmp_path / "keys.yaml",
        [make_key("good", tables=["evnts", "events"]), make_key("bad", tables=["evnts", "x-*"])],
    )
    assert main(["config", *flags]) == 0
    notes = yaml.safe_load(capsys.readouterr().out)["notes"]
    assert "key bad grants no table of the catalog: its tables match none" in notes
    assert not any("good" in note for note in notes)


@pytest.mark.parametrize("command", ["config", "serve"])
def test_settings_with_old_names_end_each_command(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
) -> None:
    """The exit code is 2, and a line for each old name has its new name."""
    prefix = "DYNAMODB_PROCESSOR_"
    monkeypatch.setenv(f"{prefix}REDIS_LOST", "bypass")
    arguments = [command, *files(tmp_path, {"events": None}), "--breaker-cool-down=5"]
    assert main(arguments) == 2
    assert capsys.readouterr().err.splitlines() == [
        "--breaker-cool-down was renamed: give --breaker-open-seconds instead",
        f"{prefix}REDIS_LOST was renamed: set {prefix}REDIS_UNAVAILABLE instead",
    ]


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("catalog", "tables: {events: {cache_ttl: soon}}", "catalog.yaml:1: tables.events"),
        (
            "catalog",
            "tables: {events: {invalidate_from_stream: true}}",
            "tables.events.invalidate_from_stream: needs the setting redis_url, or single_replica",
        ),
        ("keys", "keys: [{id: one}]", "keys.yaml:1: keys[0]"),
        ("keys", "keys: {", "keys.yaml"),
    ],
)
@pytest.mark.parametrize("command", ["config", "serve"])
def test_an_error_in_a_file_is_reported_with_its_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
    file: str,
    text: str,
    words: str,
) -> None:
    """The exit code is 2, and standard error has the line without a traceback."""
    flags = [*files(tmp_path, {"events": None}), f"--endpoint-url={NO_ENDPOINT}"]
    (tmp_path / f"{file}.yaml").write_text(text)
    if command == "serve":
        server = start_command(["serve", *flags])
        code, output = server.wait(), server.output
    else:
        code, output = main(["config", *flags]), capsys.readouterr().err
    assert code == 2
    assert words in output
    assert "Traceback" not in output


@pytest.mark.parametrize("command", ["config", "serve"])
def test_shared_limits_without_redis_are_reported(tmp_path: Path, command: str) -> None:
    """The checking command and the server both report them."""
    flags = [*files(tmp_path, {"events": None}), "--rate-limit-store=redis"]
    server = start_command([command, *flags])
    assert server.wait() == 2
    assert "rate_limit_store: redis needs redis_url" in server.output


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("serve", "--lissten", "x"), "; did you mean --listen?"),
        (("config", "--endpoint-ulr=x"), "; did you mean --endpoint-url?"),
        (("health", "--wiat", "3"), "; did you mean --wait?"),
        (("keys", "create", "--principal=a", "--table=b", "--apend=c"), "; did you mean --append?"),
        (("serve", "--nothing-alike"), "--nothing-alike"),
        (("serve", "catalog.yaml"), "catalog.yaml"),
    ],
)
def test_misspelt_flags_have_candidates(
    arguments: tuple[str, ...], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unknown flag is answered with the one of similar spelling."""
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    assert raised.value.code == 2
    assert capsys.readouterr().err.endswith(f"{meant}\n")
