"""Bad settings and old names are refused with words that name the setting."""

from __future__ import annotations

import pytest

from dynamodb_processor_server.__main__ import _parser
from dynamodb_processor_server.cli.setting_flags import settings_of
from dynamodb_processor_server.cli.setting_warnings import setting_warnings
from dynamodb_processor_server.errors import ConfigurationError
from dynamodb_processor_server.settings import RENAMED, Settings
from tests.unit.settings.setting_cases import FILES, GIVEN, PREFIX, SECRET, by_flags, error_for


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
        ("deployment", ""),
        ("deployment", ":orders"),
        ("deployment", "two words"),
        ("deployment", "ä"),
        ("deployment", "x" * 101),
        ("cloudwatch", "on"),
        ("cloudwatch_interval", "0"),
        ("key_set_interval", "0"),
        ("key_set_timeout", "inf"),
        ("grants", "ignore"),
        ("health_listen", "50052"),
        ("mtls_listen", "50053"),
        ("token_lifetime", "1e30"),
        ("drain_delay", "inf"),
        ("endpoint_url", "127.0.0.1:8000"),
        ("endpoint_url", "localhost"),
        ("endpoint_url", "http://"),
        ("endpoint_url", "http://[::1"),
        ("endpoint_url", "http://localhost:x"),
        ("streams_endpoint_url", "localhost:8000"),
        ("tracing", "jaeger"),
        ("tracing_endpoint", "collector:4317"),
        ("tracing_sample_ratio", "2"),
        ("tracing_sample_ratio", "all"),
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
        ("cache_max_bytes", "-1"),
        ("cache_max_bytes", "0%"),
        ("cache_max_bytes", "101%"),
        ("cache_max_bytes", "-5%"),
        ("cache_max_bytes", "half%"),
        ("cache_max_bytes", "%"),
        ("drain_delay", "-1"),
        ("slow_call_threshold", "-1"),
        ("single_replica", "perhaps"),
        ("stream_poll_interval", "0.1"),
        ("stream_max_lag", "1"),
        ("stream_delay", "61"),
        ("rate_classes", "{"),
        ("rate_classes", "[]"),
        ("rate_classes", '{"default": {}}'),
        ("rate_classes", '{"default": {"calls_per_second": 0}}'),
        ("rate_classes", '{"default": {"calls_per_second": "many"}}'),
        ("token_keys_secret", "a secret"),
        ("redis_url_secret", "arn:aws:s3:::bucket"),
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
        environment.setenv(PREFIX + name.upper(), text)
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
    assert error_for(deployment=":x") == (
        "deployment: must be 1 to 100 printable ASCII characters without a space, the first no "
        "colon"
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
    environment.setenv(f"{PREFIX}TOKEN_KEY", "a")
    environment.setenv(f"{PREFIX}COLOUR", "red")
    environment.setenv(f"{PREFIX}DEMO_REGION", "x")
    environment.setenv(f"{PREFIX}REGION", "eu-west-1")
    colour, token_key, unset = setting_warnings(by_flags())
    assert colour == "DYNAMODB_PROCESSOR_COLOUR: no setting has this name"
    assert token_key == (
        "DYNAMODB_PROCESSOR_TOKEN_KEY: no setting has this name; did you mean "
        "DYNAMODB_PROCESSOR_TOKEN_KEYS?"
    )
    assert unset.startswith("token_keys: not set, so page tokens end with this process")
    environment.setenv(f"{PREFIX}TOKEN_KEYS", f"a:{SECRET}")
    assert len(setting_warnings(by_flags())) == 2


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_a_flag_with_an_old_name_is_refused_naming_the_new_one(old: str, new: str) -> None:
    """The flag is refused with a value and without one."""
    flag = f"--{new.replace('_', '-')}"
    words = f"--{old.replace('_', '-')} was renamed: give {flag} instead"
    assert error_for(**{old: GIVEN[new][0]}) == words
    files = [f"--{name}={text}" for name, text in FILES.items()]
    arguments = ["serve", *files, f"--{old.replace('_', '-')}"]
    with pytest.raises(ConfigurationError, match=f"^{words}$"):
        settings_of(_parser(arguments).parse_args(arguments))


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_a_variable_with_an_old_name_is_refused_naming_the_new_one(
    old: str, new: str, environment: pytest.MonkeyPatch
) -> None:
    """Also beside the new variable, since one of the two would have no effect."""
    variable = f"{PREFIX}{old.upper()}"
    environment.setenv(variable, GIVEN[new][0])
    environment.setenv(f"{PREFIX}{new.upper()}", GIVEN[new][0])
    assert error_for() == f"{variable} was renamed: set {PREFIX}{new.upper()} instead"


def test_old_names_are_reported_with_other_errors(environment: pytest.MonkeyPatch) -> None:
    """An operator can correct everything at once."""
    environment.setenv(f"{PREFIX}REDIS_LOST", "bypass")
    lines = error_for(sole_replica="true", listen="here").splitlines()
    assert [line.split(maxsplit=1)[0] for line in lines] == [
        "--sole-replica",
        f"{PREFIX}REDIS_LOST",
        "listen:",
    ]


def test_no_setting_has_an_old_name() -> None:
    """A setting with a former name would always be refused."""
    assert not RENAMED.keys() & Settings.model_fields.keys()
    assert RENAMED.keys().isdisjoint(RENAMED.values())
    assert set(RENAMED.values()) <= Settings.model_fields.keys()
