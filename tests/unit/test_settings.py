"""Settings by flag and by environment, and refused settings."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from dynamodb_processor_server.__main__ import _parser
from dynamodb_processor_server.cache.redis.store import RedisStore
from dynamodb_processor_server.cli.setting_flags import settings_of
from dynamodb_processor_server.cli.setting_warnings import setting_warnings
from dynamodb_processor_server.dynamodb.backend import BackendSettings
from dynamodb_processor_server.dynamodb.clients import ClientSettings
from dynamodb_processor_server.errors import ConfigurationError
from dynamodb_processor_server.limits.call_rate import RateClass
from dynamodb_processor_server.runtime.circuit_breaker import BreakerSettings
from dynamodb_processor_server.settings import RENAMED, Settings

_PREFIX = "DYNAMODB_PROCESSOR_"
_FILES = {"catalog": "catalog.yaml", "keys": "keys.yaml"}
_SECRET = base64.urlsafe_b64encode(bytes(range(32))).decode().rstrip("=")

# Every setting as text, and its value.
GIVEN: dict[str, tuple[str, Any]] = {
    "catalog": ("/etc/c.yaml", Path("/etc/c.yaml")),
    "keys": ("/etc/k.yaml", Path("/etc/k.yaml")),
    "listen": ("[::1]:0", "[::1]:0"),
    "metrics_listen": ("0.0.0.0:1", "0.0.0.0:1"),
    "reflection": ("off", "off"),
    "compression": ("gzip", "gzip"),
    "max_connection_age": ("600", 600.0),
    "max_connection_age_grace": ("30", 30.0),
    "max_connections": ("50", 50),
    "max_calls_per_connection": ("25", 25),
    "max_calls": ("300", 300),
    "max_unauthenticated_calls": ("100", 100),
    "max_unsent_bytes": ("4000000", 4_000_000),
    "request_timeout": ("2.5", 2.5),
    "max_health_watches": ("16", 16),
    "log_format": ("console", "console"),
    "log_level": ("WARNING", "WARNING"),
    "endpoint_url": ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
    "region": ("eu-west-1", "eu-west-1"),
    "backend_connect_timeout": ("0.5", 0.5),
    "backend_read_timeout": ("2.5", 2.5),
    "backend_attempts": ("5", 5),
    "breaker_failure_rate": ("0.25", 0.25),
    "breaker_open_seconds": ("1.5", 1.5),
    "cache_quarantine": ("0", 0.0),
    "cache_index_quarantine": ("7.5", 7.5),
    "token_keys": (f"a:{_SECRET}", SecretStr(f"a:{_SECRET}")),
    "token_lifetime": ("60", 60.0),
    "max_concurrent_reads": ("7", 7),
    "max_streams": ("8", 8),
    "admission_queue": ("0", 0),
    "rate_classes": (
        '{"default": {"calls_per_second": 5, "window": 10}}',
        {"default": RateClass(5, 10)},
    ),
    "rate_limit_store": ("redis", "redis"),
    "unary_deadline": ("1.5", 1.5),
    "stream_deadline": ("10", 10.0),
    "stream_interval": ("0.25", 0.25),
    "max_item_bytes": ("8000000", 8_000_000),
    "max_page_bytes": ("1000000", 1_000_000),
    "cache_max_bytes": ("0", 0),
    "shared_read_timeout": ("3", 3.0),
    "redis_url": ("redis://:hush@localhost", SecretStr("redis://:hush@localhost")),
    "redis_prefix": ("mine:", "mine:"),
    "redis_timeout": ("0.25", 0.25),
    "redis_unavailable": ("serve_until_ttl", "serve_until_ttl"),
    "single_replica": ("true", True),
    "streams_endpoint_url": ("http://127.0.0.1:8001", "http://127.0.0.1:8001"),
    "stream_poll_interval": ("0.25", 0.25),
    "stream_max_lag": ("30", 30.0),
    "catalog_refresh": ("10", 10.0),
    "reload_interval": ("1", 1.0),
    "drain_delay": ("0", 0.0),
    "drain_grace": ("4", 4.0),
}
# Every duration that may be one second.
DURATIONS = [
    name
    for name, field in Settings.model_fields.items()
    if field.annotation is float and name not in ("breaker_failure_rate", "stream_max_lag")
]
_SECRETS = {"token_keys", "redis_url"}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without settings."""
    for name in os.environ:
        if name.startswith(_PREFIX):
            monkeypatch.delenv(name)
    return monkeypatch


def by_flags(**given: str) -> Settings:
    """Return the settings of `serve` with these flags."""
    flags = [f"--{name.replace('_', '-')}={text}" for name, text in (_FILES | given).items()]
    return settings_of(_parser(["serve"]).parse_args(["serve", *flags]))


def error_for(**given: str) -> str:
    """Return the error for refused flags."""
    with pytest.raises(ConfigurationError) as caught:
        by_flags(**given)
    return str(caught.value)


def key_error_for(text: str) -> str:
    """Return the error for refused token keys."""
    settings = Settings(catalog=Path("c"), keys=Path("k"), token_keys=SecretStr(text))
    with pytest.raises(ConfigurationError) as caught:
        settings.token_key_ring()
    return str(caught.value)


def test_every_setting_is_tried_here() -> None:
    """Every setting has a case in this module."""
    assert GIVEN.keys() == Settings.model_fields.keys()


@pytest.mark.parametrize("name", GIVEN.keys() - _SECRETS)
def test_a_setting_is_given_by_a_flag(name: str) -> None:
    """A flag is `--its-name`."""
    text, value = GIVEN[name]
    assert getattr(by_flags(**{name: text}), name) == value


@pytest.mark.parametrize("name", GIVEN)
def test_a_setting_is_given_by_the_environment(name: str, environment: pytest.MonkeyPatch) -> None:
    """A variable is `DYNAMODB_PROCESSOR_ITS_NAME`; no setting needs a flag."""
    for each, text in (_FILES | {name: GIVEN[name][0]}).items():
        environment.setenv(_PREFIX + each.upper(), text)
    settings = settings_of(_parser(["serve"]).parse_args(["serve"]))
    assert getattr(settings, name) == GIVEN[name][1]


@pytest.mark.parametrize("name", DURATIONS)
def test_a_duration_may_have_a_unit(name: str, environment: pytest.MonkeyPatch) -> None:
    """A duration has a unit by flag and by environment; without one it is in seconds."""
    assert getattr(by_flags(**{name: "1000ms"}), name) == 1.0
    environment.setenv(_PREFIX + name.upper(), "1s")
    assert getattr(by_flags(), name) == getattr(by_flags(**{name: "1"}), name) == 1.0


@pytest.mark.parametrize("name", [*DURATIONS, "stream_max_lag"])
def test_the_description_of_a_duration_names_its_unit(name: str) -> None:
    """`--help` and the settings page are made of descriptions."""
    assert "seconds" in (Settings.model_fields[name].description or "").lower()


def test_the_flag_wins(environment: pytest.MonkeyPatch) -> None:
    """A flag overrides the variable."""
    environment.setenv(f"{_PREFIX}REGION", "us-east-1")
    assert by_flags(region="eu-west-1").region == "eu-west-1"


def test_secrets_have_no_flag(capsys: pytest.CaptureFixture[str]) -> None:
    """Command lines are visible to all users of a machine."""
    with pytest.raises(SystemExit) as caught:
        by_flags(token_keys="a:b")
    assert caught.value.code == 2
    assert "unrecognized arguments" in capsys.readouterr().err


def test_defaults_are_for_one_machine() -> None:
    """By default the server listens on this machine alone, and uses AWS's endpoint."""
    settings = by_flags()
    assert settings.listen == "127.0.0.1:50051"
    assert settings.metrics_listen == "127.0.0.1:9464"
    assert (settings.endpoint_url, settings.region, settings.token_keys) == (None, None, None)


def test_metrics_can_be_off(environment: pytest.MonkeyPatch) -> None:
    """With an empty address no metrics are served."""
    assert by_flags(metrics_listen="").metrics_listen is None
    environment.setenv(f"{_PREFIX}METRICS_LISTEN", "")
    assert by_flags().metrics_listen is None


def test_an_empty_endpoint_is_none(environment: pytest.MonkeyPatch) -> None:
    """A deployment file may set a variable that has no value."""
    environment.setenv(f"{_PREFIX}ENDPOINT_URL", "")
    assert by_flags(streams_endpoint_url="").endpoint_url is None
    assert by_flags(streams_endpoint_url="").streams_endpoint_url is None


def test_a_switch_needs_no_value() -> None:
    """`--single-replica` is enough, and `--single-replica false` turns it off."""
    parser = _parser(["serve"])
    files = [f"--{name}={text}" for name, text in _FILES.items()]
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


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("listen", "50051"),
        ("listen", ":50051"),
        ("listen", "localhost"),
        ("listen", "localhost:http"),
        ("listen", "localhost:65536"),
        ("listen", "localhost:-1"),
        ("listen", "localhost:²"),
        ("metrics_listen", "9464"),
        ("reflection", "maybe"),
        ("region", "eu west"),
        ("token_lifetime", "1e30"),
        ("drain_delay", "inf"),
        ("endpoint_url", "127.0.0.1:8000"),
        ("endpoint_url", "localhost"),
        ("endpoint_url", "http://"),
        ("endpoint_url", "http://[::1"),
        ("endpoint_url", "http://localhost:x"),
        ("streams_endpoint_url", "localhost:8000"),
        ("log_format", "xml"),
        ("log_level", "LOUD"),
        ("backend_attempts", "0"),
        ("backend_attempts", "11"),
        ("breaker_failure_rate", "0"),
        ("breaker_failure_rate", "1.1"),
        ("breaker_open_seconds", "0"),
        ("backend_read_timeout", "0"),
        ("backend_read_timeout", "nan"),
        ("unary_deadline", "inf"),
        ("unary_deadline", "soon"),
        ("max_concurrent_reads", "0"),
        ("max_streams", "1"),
        ("admission_queue", "-1"),
        ("max_page_bytes", "1000"),
        ("drain_delay", "-1"),
        ("single_replica", "perhaps"),
        ("stream_poll_interval", "0.1"),
        ("stream_max_lag", "1"),
        ("rate_classes", "{"),
        ("rate_classes", "[]"),
        ("rate_classes", '{"default": {}}'),
        ("rate_classes", '{"default": {"calls_per_second": 0}}'),
        ("rate_classes", '{"default": {"calls_per_second": "many"}}'),
    ],
)
@pytest.mark.parametrize("way", ["flag", "environment"])
def test_a_bad_setting_is_named(
    name: str, text: str, way: str, environment: pytest.MonkeyPatch
) -> None:
    """The error begins with the setting, and is written for the operator."""
    if way == "flag":
        words = error_for(**{name: text})
    else:
        environment.setenv(_PREFIX + name.upper(), text)
        words = error_for()
    assert words.startswith(name)
    assert len(words.splitlines()) == 1


def test_all_errors_are_reported_at_once() -> None:
    """Each error has a line; and the two files are required."""
    with pytest.raises(ConfigurationError) as caught:
        settings_of(_parser(["serve"]).parse_args(["serve", "--listen", "here"]))
    lines = str(caught.value).splitlines()
    assert [line.partition(":")[0] for line in lines] == ["catalog", "keys", "listen"]
    assert lines[0] == ("catalog: is required: give --catalog or DYNAMODB_PROCESSOR_CATALOG")


def test_errors_are_reported_without_the_validators_own_words() -> None:
    """Each error says the valid values, in an operator's words and not in pydantic's."""
    assert error_for(listen="here") == "listen: must be HOST:PORT, such as 127.0.0.1:50051"
    assert error_for(unary_deadline="soon") == (
        "unary_deadline: must be a number of seconds, such as 300, or a duration such as 300s, 5m"
    )
    assert error_for(stream_max_lag="4s") == "stream_max_lag: must be 5 to 3600 seconds"
    assert error_for(backend_attempts="11") == (
        "backend_attempts: must be less than or equal to 10"
    )
    assert error_for(endpoint_url="127.0.0.1:8000") == (
        "endpoint_url: must be an HTTP URL, such as http://127.0.0.1:8000"
    )
    assert error_for(log_format="xml") == "log_format: must be 'json' or 'console'"
    assert error_for(rate_classes="{") == (
        'rate_classes: must be JSON, such as {"default": {"calls_per_second": 1000}}'
    )
    assert "rate_classes.default.calls_per_second: is required" in error_for(
        rate_classes='{"default": {}}'
    )
    for name, text in (("single_replica", "perhaps"), ("rate_classes", "[]"), ("max_streams", "1")):
        assert not {"Input", "input", "Value error"} & set(error_for(**{name: text}).split(" "))


def test_variables_that_name_no_setting_are_warned_of(environment: pytest.MonkeyPatch) -> None:
    """The warning suggests a setting; the demo's own variables belong to the demo."""
    environment.setenv(f"{_PREFIX}TOKEN_KEY", "a")
    environment.setenv(f"{_PREFIX}COLOUR", "red")
    environment.setenv(f"{_PREFIX}DEMO_REGION", "x")
    environment.setenv(f"{_PREFIX}REGION", "eu-west-1")
    colour, token_key, unset = setting_warnings(by_flags())
    assert colour == "DYNAMODB_PROCESSOR_COLOUR: no setting has this name"
    assert token_key == (
        "DYNAMODB_PROCESSOR_TOKEN_KEY: no setting has this name; did you mean "
        "DYNAMODB_PROCESSOR_TOKEN_KEYS?"
    )
    assert unset.startswith("token_keys: not set, so page tokens end with this process")
    environment.setenv(f"{_PREFIX}TOKEN_KEYS", f"a:{_SECRET}")
    assert len(setting_warnings(by_flags())) == 2


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_a_flag_with_an_old_name_is_refused_naming_the_new_one(old: str, new: str) -> None:
    """The flag is refused with a value and without one."""
    flag = f"--{new.replace('_', '-')}"
    words = f"--{old.replace('_', '-')} was renamed: give {flag} instead"
    assert error_for(**{old: GIVEN[new][0]}) == words
    files = [f"--{name}={text}" for name, text in _FILES.items()]
    arguments = ["serve", *files, f"--{old.replace('_', '-')}"]
    with pytest.raises(ConfigurationError, match=f"^{words}$"):
        settings_of(_parser(arguments).parse_args(arguments))


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_a_variable_with_an_old_name_is_refused_naming_the_new_one(
    old: str, new: str, environment: pytest.MonkeyPatch
) -> None:
    """Also beside the new variable, since one of the two would have no effect."""
    variable = f"{_PREFIX}{old.upper()}"
    environment.setenv(variable, GIVEN[new][0])
    environment.setenv(f"{_PREFIX}{new.upper()}", GIVEN[new][0])
    assert error_for() == f"{variable} was renamed: set {_PREFIX}{new.upper()} instead"


def test_old_names_are_reported_with_other_errors(environment: pytest.MonkeyPatch) -> None:
    """An operator can correct everything at once."""
    environment.setenv(f"{_PREFIX}REDIS_LOST", "bypass")
    lines = error_for(sole_replica="true", listen="here").splitlines()
    assert [line.split(maxsplit=1)[0] for line in lines] == [
        "--sole-replica",
        f"{_PREFIX}REDIS_LOST",
        "listen:",
    ]


def test_no_setting_has_an_old_name() -> None:
    """A setting with a former name would always be refused."""
    assert not RENAMED.keys() & Settings.model_fields.keys()
    assert RENAMED.keys().isdisjoint(RENAMED.values())
    assert set(RENAMED.values()) <= Settings.model_fields.keys()


# Token keys


def test_token_keys_are_read_newest_first() -> None:
    """Keys are read with or without the padding of base64."""
    text = f"new:{_SECRET}=, old:{base64.urlsafe_b64encode(bytes(32)).decode()}"
    ring = Settings(catalog=Path("c"), keys=Path("k"), token_keys=SecretStr(text)).token_key_ring()
    assert [(key.key_id, key.secret) for key in ring] == [
        ("new", bytes(range(32))),
        ("old", bytes(32)),
    ]


def test_a_shared_cache_needs_token_keys_that_others_have() -> None:
    """With keys of its own, a process could not decrypt the pages of others."""
    with pytest.raises(ConfigurationError, match="redis_url: needs token_keys"):
        by_flags().shared_cache_keys()


def test_shared_limits_need_somewhere_to_be_counted() -> None:
    """Only shared limits need Redis; by default each replica counts for itself."""
    assert by_flags().shared_limits_url() is None
    with pytest.raises(ConfigurationError, match="rate_limit_store: redis needs redis_url"):
        by_flags(rate_limit_store="redis").shared_limits_url()
    settings = Settings(
        catalog=Path("c"),
        keys=Path("k"),
        rate_limit_store="redis",
        redis_url=SecretStr("redis://x"),
    )
    assert settings.shared_limits_url() == "redis://x"


@pytest.mark.parametrize(
    "url", ["localhost", "http://:hush@localhost", "redis://:hush@localhost:x"]
)
def test_an_invalid_redis_url_is_refused_without_showing_it(url: str) -> None:
    """A Redis URL may contain a password, so the error does not show it."""
    with pytest.raises(ConfigurationError, match=r"^redis_url: must be redis:") as refused:
        RedisStore(url, 0.1, "p:", 10.0)
    assert "hush" not in str(refused.value)


def test_without_token_keys_a_process_has_its_own() -> None:
    """The keys are new each time, so that tokens do not outlive the process by accident."""
    settings = by_flags()
    (one,), (other,) = settings.token_key_ring(), settings.token_key_ring()
    assert len(one.secret) == 32
    assert one.secret != other.secret


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "key 1 is not `id:key`"),
        (_SECRET, "key 1 is not `id:key`"),
        (f":{_SECRET}", "key 1 is not `id:key`"),
        (f"{'i' * 33}:{_SECRET}", "key 1 is not `id:key`"),
        (f"a:{_SECRET},b", "key 2 is not `id:key`"),
        (f"a:{_SECRET},", "key 2 is not `id:key`"),
        (f"a:{_SECRET[:-2]}", "key 1 is not 32 bytes in base64url"),
        ("a:" + "A" * 44, "key 1 is not 32 bytes in base64url"),
        (f"a:{_SECRET[:-1]}!", "key 1 is not 32 bytes in base64url"),
        (f"a:{_SECRET[:-1]}ö", "key 1 is not 32 bytes in base64url"),
        (f"a:{_SECRET[:-1]} ", "key 1 is not 32 bytes in base64url"),
        (f"a:{_SECRET},a:{_SECRET}", "two keys have the same id"),
    ],
)
def test_bad_token_keys_are_refused_without_showing_them(text: str, words: str) -> None:
    """The error names the entry by its number."""
    shown = key_error_for(text)
    assert shown.startswith("token_keys: ")
    assert words in shown
    assert _SECRET[:10] not in shown


def test_secrets_do_not_show_in_errors_or_in_print(environment: pytest.MonkeyPatch) -> None:
    """Secrets are masked wherever settings are printed."""
    environment.setenv(f"{_PREFIX}TOKEN_KEYS", f"a:{_SECRET}")
    settings = by_flags()
    assert _SECRET not in repr(settings)
    assert _SECRET not in str(settings.model_dump())
    assert _SECRET not in error_for(listen="here")


def test_the_client_of_dynamodb_gets_its_settings() -> None:
    """The client has a connection for each read that admission allows."""
    given = {name: text for name, (text, _) in GIVEN.items() if name not in _SECRETS}
    assert by_flags(**given).client_settings() == ClientSettings(
        endpoint_url="http://127.0.0.1:8000",
        region="eu-west-1",
        pool_size=7,
        connect_timeout=0.5,
        read_timeout=2.5,
    )
    assert by_flags(**given).backend_settings() == BackendSettings(
        attempts=5,
        attempt_timeout=3.0,
        connections=7,
        breaker=BreakerSettings(failure_rate=0.25, open_seconds=1.5),
    )


@pytest.mark.parametrize(
    ("variables", "region"),
    [
        ({"AWS_REGION": "eu-north-1"}, "eu-north-1"),
        ({"AWS_DEFAULT_REGION": "eu-south-1"}, "eu-south-1"),
        ({"AWS_REGION": "eu-north-1", "AWS_DEFAULT_REGION": "eu-south-1"}, "eu-north-1"),
        ({"AWS_REGION": "eu-north-1", "DYNAMODB_PROCESSOR_REGION": "eu-west-3"}, "eu-west-3"),
        ({}, None),
    ],
    ids=str,
)
def test_the_region_comes_from_several_places(
    variables: dict[str, str], region: str | None, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The setting is first, then the variables of other SDKs, then botocore's own sources."""
    environment.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        environment.delenv(name, raising=False)
    for name, value in variables.items():
        environment.setenv(name, value)
    settings = by_flags()
    assert settings.client_settings().region == region
    assert settings.catalog_context()["has_region"] is (region is not None)


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("AWS_REGION", "eu west", "AWS_REGION or AWS_DEFAULT_REGION: must be the name of an AWS"),
        ("AWS_PROFILE", "nobody", "AWS configuration: The config profile (nobody) could not be"),
    ],
)
def test_errors_of_the_aws_setup_are_reported_at_the_start(
    variable: str, value: str, words: str, environment: pytest.MonkeyPatch
) -> None:
    """The error is a sentence."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        environment.delenv(name, raising=False)
    environment.setenv(variable, value)
    with pytest.raises(ConfigurationError) as caught:
        by_flags().client_settings()
    assert str(caught.value).startswith(words)
