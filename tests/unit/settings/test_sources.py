"""Settings come from flags and the environment; defaults are for one machine."""

from __future__ import annotations

import pytest

from dynamodb_processor_server.__main__ import _parser
from dynamodb_processor_server.cli.setting_flags import settings_of
from dynamodb_processor_server.runtime.memory_limit import memory_limit, physical_memory
from dynamodb_processor_server.settings import Settings
from tests.unit.settings.setting_cases import (
    DURATIONS,
    FILES,
    GIVEN,
    PREFIX,
    SECRETS,
    by_flags,
    with_files,
)


def test_every_setting_is_tried_here() -> None:
    """Every setting has a case in this module."""
    assert GIVEN.keys() == Settings.model_fields.keys()


@pytest.mark.parametrize("name", GIVEN.keys() - SECRETS)
def test_a_setting_is_given_by_a_flag(name: str) -> None:
    """A flag is `--its-name`."""
    text, value = GIVEN[name]
    assert getattr(by_flags(**{name: text}), name) == value


@pytest.mark.parametrize("name", GIVEN)
def test_a_setting_is_given_by_the_environment(name: str, environment: pytest.MonkeyPatch) -> None:
    """A variable is `DYNAMODB_PROCESSOR_ITS_NAME`; no setting needs a flag."""
    for each, text in with_files({name: GIVEN[name][0]}).items():
        environment.setenv(PREFIX + each.upper(), text)
    settings = settings_of(_parser(["serve"]).parse_args(["serve"]))
    assert getattr(settings, name) == GIVEN[name][1]


@pytest.mark.parametrize("name", DURATIONS)
def test_a_duration_may_have_a_unit(name: str, environment: pytest.MonkeyPatch) -> None:
    """A duration has a unit by flag and by environment; without one it is in seconds."""
    assert getattr(by_flags(**{name: "1000ms"}), name) == 1.0
    environment.setenv(PREFIX + name.upper(), "1s")
    assert getattr(by_flags(), name) == getattr(by_flags(**{name: "1"}), name) == 1.0


@pytest.mark.parametrize("name", [*DURATIONS, "stream_max_lag"])
def test_the_description_of_a_duration_names_its_unit(name: str) -> None:
    """`--help` and the settings page are made of descriptions."""
    assert "seconds" in (Settings.model_fields[name].description or "").lower()


def test_the_flag_wins(environment: pytest.MonkeyPatch) -> None:
    """A flag overrides the variable."""
    environment.setenv(f"{PREFIX}REGION", "us-east-1")
    assert by_flags(region="eu-west-1").region == "eu-west-1"


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_secrets_have_no_flag(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Command lines are visible to all users of a machine; a secret's sources have flags."""
    with pytest.raises(SystemExit) as caught:
        by_flags(**{name: "a:b"})
    assert caught.value.code == 2
    flag = f"--{name.replace('_', '-')}"
    words = f"ambiguous option: {flag}=a:b could match {flag}-file, {flag}-secret"
    assert words in capsys.readouterr().err


def test_defaults_are_for_one_machine() -> None:
    """By default the server listens on this machine alone, and uses AWS's endpoint."""
    settings = by_flags()
    assert settings.listen == "127.0.0.1:50051"
    assert settings.metrics_listen == "127.0.0.1:9464"
    assert (settings.endpoint_url, settings.region, settings.token_keys) == (None, None, None)


@pytest.mark.parametrize(("text", "share"), [("25%", 0.25), ("12.5 %", 0.125), ("100%", 1)])
def test_the_cache_may_have_a_share_of_the_memory(text: str, share: float) -> None:
    """The setting is then the bytes that the share comes to, as if they had been given."""
    limit = memory_limit(physical_memory())
    assert limit is not None
    assert by_flags(cache_max_bytes=text).cache_max_bytes == int(limit * share)


def test_metrics_can_be_off(environment: pytest.MonkeyPatch) -> None:
    """With an empty address no metrics are served."""
    assert by_flags(metrics_listen="").metrics_listen is None
    environment.setenv(f"{PREFIX}METRICS_LISTEN", "")
    assert by_flags().metrics_listen is None


def test_an_empty_endpoint_is_none(environment: pytest.MonkeyPatch) -> None:
    """A deployment file may set a variable that has no value."""
    environment.setenv(f"{PREFIX}ENDPOINT_URL", "")
    assert by_flags(streams_endpoint_url="").endpoint_url is None
    assert by_flags(streams_endpoint_url="").streams_endpoint_url is None


def test_a_switch_needs_no_value() -> None:
    """`--single-replica` is enough, and `--single-replica false` turns it off."""
    parser = _parser(["serve"])
    files = [f"--{name}={text}" for name, text in FILES.items()]
    for given, meant in (
        (["--single-replica"], True),
        (["--single-replica", "false"], False),
        ([], False),
    ):
        assert settings_of(parser.parse_args(["serve", *given, *files])).single_replica is meant


def test_streams_are_reached_as_tables_are_unless_said() -> None:
    """DynamoDB Local serves both at one address; AWS does not."""
    settings = by_flags(endpoint_url="http://127.0.0.1:8000")
    assert settings.stream_client_settings().endpoint_url == "http://127.0.0.1:8000"
    settings = by_flags(streams_endpoint_url="http://127.0.0.1:8001")
    assert settings.stream_client_settings().endpoint_url == "http://127.0.0.1:8001"
    assert settings.client_settings().endpoint_url is None


def test_settings_do_not_change() -> None:
    """Settings are immutable, so that other modules can rely on them."""
    with pytest.raises(ValueError, match="frozen"):
        by_flags().listen = "0.0.0.0:1"  # type: ignore[misc]
