"""The stores that `keys rotate` reads and writes: a file, or a secret of AWS Secrets Manager."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from dynamodb_processor_server.config_files import ConfigDocument
from dynamodb_processor_server.config_files.atomic_write import replace_file
from dynamodb_processor_server.dynamodb.clients import Clients, ClientSettings
from dynamodb_processor_server.dynamodb.secrets_manager import SECRETS_MANAGER, SecretsManager
from dynamodb_processor_server.settings import region_of_environment

_NEW_MODE: Final = 0o600


class SecretStore(Protocol):
    """A store whose whole content is replaced at once."""

    async def read(self) -> ConfigDocument:
        """Return the present content; raise ConfigurationError."""
        ...

    async def write(self, text: str, before: Callable[[], None] = lambda: None) -> None:
        """Replace the content; call `before` first. Raise ConfigurationError."""
        ...


class FileStore:
    """A file, which may not exist yet."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def read(self) -> ConfigDocument:
        """Return the content, empty if there is no such file."""
        if not self._path.exists():
            return ConfigDocument(self._path, b"")
        return ConfigDocument.read(self._path)

    async def write(self, text: str, before: Callable[[], None] = lambda: None) -> None:
        """Write a file beside it, and rename that."""
        replace_file(self._path, text, before, _NEW_MODE)


class SecretsManagerStore:
    """A secret of AWS Secrets Manager, by name or ARN; `setting` names it in errors."""

    def __init__(self, name: str, setting: str) -> None:
        self._name = name
        self._setting = setting

    async def read(self) -> ConfigDocument:
        """Return the current version."""
        async with Clients(_client_settings(), SECRETS_MANAGER) as clients:
            content = await SecretsManager(clients).read(self._name, self._setting)
        return ConfigDocument(Path(self._name), content)

    async def write(self, text: str, before: Callable[[], None] = lambda: None) -> None:
        """Put a new version, which is the current one from then on."""
        before()
        async with Clients(_client_settings(), SECRETS_MANAGER) as clients:
            await SecretsManager(clients).write(self._name, self._setting, text)


def _client_settings() -> ClientSettings:
    return ClientSettings(region=region_of_environment())
