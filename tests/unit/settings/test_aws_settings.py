"""Settings of the AWS clients, and the sources of their region."""

from __future__ import annotations

from pathlib import Path

import pytest

from dynamodb_processor_server.dynamodb.backend import BackendSettings
from dynamodb_processor_server.dynamodb.clients import ClientSettings
from dynamodb_processor_server.errors import ConfigurationError
from dynamodb_processor_server.runtime.circuit_breaker import BreakerSettings
from tests.unit.settings.setting_cases import GIVEN, SECRETS, by_flags


def test_the_client_of_dynamodb_gets_its_settings() -> None:
    """The client has a connection for each read that admission allows."""
    others = SECRETS | {"keys_secret"}
    given = {name: text for name, (text, _) in GIVEN.items() if name not in others}
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
