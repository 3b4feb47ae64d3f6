"""Tests of the profiles of `ddbq`: which one counts, its files and commands, and its errors."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

import pytest

from dynamodb_processor_client.command import main
from dynamodb_processor_client.credential_commands import TokenCommand
from dynamodb_processor_client.profiles import Profile, config_path, load_profile
from tests.support.fake_service import FakeService
from tests.unit.client.commands import Run

SECRET = "ddbp_very_secret"


@pytest.fixture
def config(environment: dict[str, str], tmp_path: Path) -> Path:
    """The configuration file of the commands in these tests."""
    environment["XDG_CONFIG_HOME"] = str(tmp_path)
    path = tmp_path / "ddbq" / "config.toml"
    path.parent.mkdir()
    return path


def private(path: Path, content: str) -> Path:
    """Write a file that its owner alone may access."""
    path.touch(mode=0o600)
    path.write_text(content)
    return path


def written(path: Path, content: str, mode: int = 0o644) -> None:
    """Write a file with these permissions."""
    path.write_text(content)
    path.chmod(mode)


def printing(text: str) -> str:
    """Return the words of a command that prints a text, as an array of TOML."""
    return json.dumps([sys.executable, "-c", f"print({text!r})"])


async def test_a_profile_takes_the_place_of_the_environment(
    run: Run, service: FakeService, environment: dict[str, str], config: Path
) -> None:
    """The key of one deployment does not go to another: a profile uses no variable beside it."""
    private(config.parent / "key", f"{SECRET}\n")
    written(
        config,
        f'[profiles.a]\ntarget = "{service.address}"\napi_key_file = "key"\n'
        f'[profiles.b]\ntarget = "{service.address}"\n',
    )
    environment |= {"DDBQ_TARGET": "127.0.0.1:1", "DDBQ_API_KEY": "of-another-one"}
    assert (await run("query", "numbers", "--profile", "a")).status == 0
    environment["DDBQ_PROFILE"] = "b"
    assert (await run("query", "numbers")).status == 0
    assert (await run("query", "numbers", "--api-key", "of-the-option")).status == 0
    keys = [one.get("x-api-key") for one in service.metadata]
    assert keys == [SECRET, None, "of-the-option"]


async def test_keys_and_tokens_of_commands(run: Run, service: FakeService, config: Path) -> None:
    """A command prints the key or the token; it is run without a shell."""
    written(
        config,
        f'[profiles.key]\ntarget = "{service.address}"\napi_key_command = {printing("k; $HOME")}\n'
        f'[profiles.token]\ntarget = "{service.address}"\n'
        f"bearer_token_command = {printing('t.t.t')}\n",
    )
    for name in ("key", "token"):
        assert (await run("query", "numbers", "--profile", name)).status == 0
    sent = [(one.get("x-api-key"), one.get("authorization")) for one in service.metadata]
    assert sent == [("k; $HOME", None), (None, "Bearer t.t.t")]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "config.toml has no profile a; it has: none"),
        ("[profiles.production]", "has no profile a; it has: production"),
        ("[profiles.aa]", "has no profile a; it has: aa; is it aa?"),
        ("profiles = 5", "profiles is a table: [profiles.a]"),
        ("[profiles]\na = 5", "a is a table: [profiles.a]"),
        ("[profiles.a", "config.toml is no TOML: "),
        ('[profiles.a]\napi_key = "ddbp_very_secret"', "holds no secrets: give api_key_file or"),
        ('[profiles.a]\nbearer_token = "ddbp_very_secret"', "give bearer_token_file or"),
        ("[profiles.a]\ntarjet = 1", "there is no tarjet; is it target?"),
        ("[profiles.a]\nxyz = 1", "there is no xyz; known are: target, tls, cacert"),
        ("[profiles.a]\ntarget = 5", "profile a: target is a text in quotes"),
        ('[profiles.a]\ntls = "yes"', "profile a: tls is true or false"),
        ('[profiles.a]\napi_key_command = "pass ddbp_very_secret"', "is a list of words"),
        ("[profiles.a]\napi_key_command = []", "api_key_command is a list of words"),
        (
            '[profiles.a]\napi_key_file = "a"\nbearer_token_file = "b"',
            "api_key_file and bearer_token_file are given: keep one",
        ),
        ('[profiles.a]\napi_key_file = "none"', "profile a: api_key_file: "),
        ('[profiles.a]\ncacert = "none"', "none cannot be read: No such file or directory"),
        (
            f"[profiles.a]\napi_key_command = {json.dumps([sys.executable, '-c', 'exit(3)'])}",
            "ended with the exit code 3",
        ),
        ('[profiles.a]\napi_key_command = ["/none/pass"]', "/none/pass cannot be started: No such"),
        (
            "[profiles.a]\napi_key_command = " + printing(SECRET + "\nsecond line"),
            "has not printed one line of text",
        ),
        ("[profiles.a]\napi_key_command = " + printing(""), "has not printed one line of text"),
    ],
)
def test_wrong_profiles(
    content: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The error names the file, the profile and the value, and shows no secret."""
    config = tmp_path / "ddbq" / "config.toml"
    config.parent.mkdir()
    config.write_text(content)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with pytest.raises(SystemExit) as raised:
        main(("tables", "--profile", "a"))
    errors = capsys.readouterr().err
    assert raised.value.code == 2
    assert words in errors
    assert SECRET not in errors


async def test_files_that_others_may_use(run: Run, service: FakeService, config: Path) -> None:
    """A configuration that others may write, and a secret that others may read, are refused."""
    key = config.parent / "key"
    content = f'[profiles.a]\ntarget = "{service.address}"\napi_key_file = "key"\n'
    written(config, content)
    written(key, SECRET, 0o640)
    refused = await run("tables", "--profile", "a")
    words = f"profile a: api_key_file: other users can access {key}: chmod 600 {key}"
    assert (refused.status, words in refused.errors) == (2, True)
    written(key, SECRET, 0o600)
    written(config, content, 0o664)
    refused = await run("tables", "--profile", "a")
    words = f"other users can write {config}: chmod go-w {config}"
    assert (refused.status, words in refused.errors) == (2, True)
    written(config, content)
    assert (await run("tables", "--profile", "a")).status == 0


def test_the_folder_of_the_configuration(tmp_path: Path) -> None:
    """The XDG specification gives the folder; it wants relative paths to be ignored."""
    assert config_path({"XDG_CONFIG_HOME": str(tmp_path)}) == tmp_path / "ddbq" / "config.toml"
    default = Path.home() / ".config" / "ddbq" / "config.toml"
    assert config_path({}) == config_path({"XDG_CONFIG_HOME": "here"}) == default


def test_a_missing_configuration(tmp_path: Path) -> None:
    """Without a file the error names its path."""
    with pytest.raises(ValueError, match=r"config\.toml does not exist, so there is no a"):
        load_profile("a", {"XDG_CONFIG_HOME": str(tmp_path)})


def test_paths_begin_at_the_configuration(tmp_path: Path) -> None:
    """Relative paths begin at the folder of the file, `~` is the home folder."""
    path = tmp_path / "ddbq" / "config.toml"
    path.parent.mkdir()
    path.write_text('[profiles.a]\ncacert = "ca.pem"\nbearer_token_file = "~/token"\n')
    profile = load_profile("a", {"XDG_CONFIG_HOME": str(tmp_path)})
    assert profile == Profile(
        "a",
        {"cacert": str(path.parent / "ca.pem"), "tls": False},
        "bearer_token_file",
        str(Path.home() / "token"),
    )


async def test_a_token_is_renewed_before_it_expires(tmp_path: Path) -> None:
    """The command runs again half a minute before the time that the token names, and not before."""
    claims = base64.urlsafe_b64encode(b'{"exp": 1000}').decode().rstrip("=")
    count = tmp_path / "count"
    program = f"open({str(count)!r}, 'a').write('.'); print('h.{claims}.s')"
    now = 0.0
    token = TokenCommand("a", [sys.executable, "-c", program], clock=lambda: now)
    for at, runs in ((0.0, 1), (969.0, 1), (970.0, 2), (970.5, 2), (971.5, 3)):
        now = at
        assert await token() == f"h.{claims}.s"
        assert len(count.read_text()) == runs


async def test_a_token_without_a_time_is_kept_for_a_minute(tmp_path: Path) -> None:
    """A command that fails leaves the last token, which the service may still accept."""
    source = tmp_path / "token"
    source.write_text("first")
    now = 0.0
    program = f"print(open({str(source)!r}).read())"
    token = TokenCommand("a", [sys.executable, "-c", program], clock=lambda: now)
    source.write_text("second")
    assert await token() == "first"
    now = 60.0
    assert await token() == "second"
    source.unlink()
    now = 120.0
    assert await token() == "second"
