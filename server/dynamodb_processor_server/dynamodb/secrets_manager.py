"""Reads and writes secrets of AWS Secrets Manager."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from dynamodb_processor_server.config_files.errors import ConfigFileError, ConfigIssue
from dynamodb_processor_server.dynamodb.clients import Clients, Service
from dynamodb_processor_server.dynamodb.credentials import CredentialsFailed
from dynamodb_processor_server.dynamodb.response_parser import CorruptAnswer

#: Secrets Manager as a service of `Clients`; botocore sends all of its requests.
SECRETS_MANAGER: Final = Service("secretsmanager", {})

_TIMEOUT: Final = 5.0
_ARN: Final = "arn:"
_REMEDIES: Final = {
    "AccessDeniedException": "allow {action} on it, and kms:Decrypt on a key of your own",
    "DecryptionFailure": "allow kms:Decrypt on the key that encrypts it",
    "InvalidRequestException": "restore it if it is to be deleted",
    "ResourceNotFoundException": "it does not exist in this region, or has no value yet",
}


class SecretUnavailable(ConfigFileError):
    """A secret cannot be read or written at the moment; the text never has its value."""

    is_transient = True


class SecretsManager:
    """The current versions of secrets; each operation takes at most `timeout` seconds."""

    def __init__(self, clients: Clients, timeout: float = _TIMEOUT) -> None:
        self._clients = clients
        self._timeout = timeout

    async def read(self, name: str, setting: str) -> bytes:
        """Return the current version of a secret.

        Args:
            name: Its name or its ARN.
            setting: The setting that names it, for errors.

        Raises:
            SecretUnavailable: It cannot be read at the moment.
            ConfigFileError: It is no text.
        """
        async with self._client(name, setting, "secretsmanager:GetSecretValue") as client:
            answer = await client.get_secret_value(SecretId=name)
        text = answer.get("SecretString")
        if not isinstance(text, str):
            issue = ConfigIssue(name, 0, setting, "is binary; store it as text (SecretString)")
            raise ConfigFileError((issue,))
        return text.encode()

    async def write(self, name: str, setting: str, text: str) -> None:
        """Make `text` the current version of an existing secret; raises SecretUnavailable."""
        async with self._client(name, setting, "secretsmanager:PutSecretValue") as client:
            await client.put_secret_value(SecretId=name, SecretString=text)

    @asynccontextmanager
    async def _client(self, name: str, setting: str, action: str) -> AsyncIterator[Any]:
        """Yield the client for a secret, and translate the errors of its use."""
        region = name.split(":")[3] if name.startswith(_ARN) else None
        try:
            # A new client parses a model, which takes seconds of a small share of a core.
            client = await self._clients.client(region)
            async with asyncio.timeout(self._timeout):
                yield client
        except TimeoutError:
            reason = f"Secrets Manager did not answer within {self._timeout:g} seconds"
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "unknown error")
            remedy = _REMEDIES.get(code, "").format(action=action)
            reason = f"{code}; {remedy}" if remedy else code
        except CredentialsFailed:
            reason = "there are no AWS credentials at the moment"
        except (BotoCoreError, CorruptAnswer, ValueError) as error:
            # The type alone: the text may have an address with a proxy's password.
            reason = f"Secrets Manager cannot be reached: {type(error).__name__}"
        else:
            return
        raise SecretUnavailable((ConfigIssue(name, 0, setting, reason),))
