"""Reads of AWS Secrets Manager: refusals, hangs, other regions, and the words for them."""

from __future__ import annotations

from typing import Final

import pytest

from dynamodb_processor_server.dynamodb.clients import Clients, ClientSettings
from dynamodb_processor_server.dynamodb.secrets_manager import (
    SECRETS_MANAGER,
    SecretsManager,
    SecretUnavailable,
)
from tests.support.backends import REGION
from tests.support.lengths import PATIENCE
from tests.support.secrets_manager import SecretsManagerServer, refusing_server
from tests.support.silent_server import silent_server

_REFUSALS: Final = {
    "AccessDeniedException": "AccessDeniedException; allow secretsmanager:GetSecretValue on it",
    "ResourceNotFoundException": "it does not exist in this region, or has no value yet",
    "DecryptionFailure": "DecryptionFailure; allow kms:Decrypt",
    "InvalidRequestException": "InvalidRequestException; restore it",
    "InternalServiceError": "InternalServiceError",
}


@pytest.mark.parametrize("code", _REFUSALS)
async def test_a_refusal_of_secrets_manager_is_explained(
    code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error has AWS's code and the remedy, and not AWS's text, which names users."""
    async with (
        refusing_server(code) as url,
        Clients(ClientSettings(region=REGION, endpoint_url=url), SECRETS_MANAGER) as clients,
    ):
        with pytest.raises(SecretUnavailable) as caught:
            await SecretsManager(clients).read("ddb/keys", "keys_secret")
    assert str(caught.value).startswith("ddb/keys: keys_secret: ")
    assert _REFUSALS[code] in str(caught.value)
    assert "arn:aws:iam" not in str(caught.value)
    assert caught.value.is_transient


async def test_a_secrets_manager_that_hangs_is_given_up() -> None:
    """A read has its own time; the next one may succeed."""
    with silent_server() as port:
        settings = ClientSettings(region=REGION, endpoint_url=f"http://127.0.0.1:{port}")
        async with Clients(settings, SECRETS_MANAGER) as clients:
            manager = SecretsManager(clients, timeout=0.1)
            with pytest.raises(SecretUnavailable, match=r"did not answer within 0\.1 seconds"):
                await manager.read("ddb/keys", "keys_secret")


async def test_a_secrets_manager_that_cannot_be_reached_is_named() -> None:
    """The error has the type of the failure alone."""
    settings = ClientSettings(region=REGION, endpoint_url="http://127.0.0.1:1")
    async with Clients(settings, SECRETS_MANAGER) as clients:
        with pytest.raises(SecretUnavailable, match="cannot be reached: EndpointConnectionError"):
            await SecretsManager(clients).read("ddb/keys", "keys_secret")


async def test_a_secret_of_another_region_is_read_there(
    secrets_manager: SecretsManagerServer,
) -> None:
    """An ARN names the region."""
    settings = ClientSettings(region=REGION, endpoint_url=secrets_manager.url)
    async with Clients(settings, SECRETS_MANAGER) as clients:
        arn = "arn:aws:secretsmanager:ap-south-1:123456789012:secret:ddb/elsewhere-AbCdEf"
        with pytest.raises(SecretUnavailable, match="ResourceNotFoundException"):
            await SecretsManager(clients, PATIENCE).read(arn, "keys_secret")
        assert (await clients.client("ap-south-1")).meta.region_name == "ap-south-1"
