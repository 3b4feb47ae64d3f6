"""Opens the secrets of a server, and replaces them while it runs when their source changes."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar

from pydantic import SecretStr

from dynamodb_processor_server.config_files import (
    ConfigDocument,
    Reloadable,
    ReloadableFile,
    ReloadableFiles,
    SecretText,
)
from dynamodb_processor_server.dynamodb.clients import Clients
from dynamodb_processor_server.dynamodb.secrets_manager import SECRETS_MANAGER, SecretsManager
from dynamodb_processor_server.query.page_token import TokenKey
from dynamodb_processor_server.runtime.guarded_store import StoreError
from dynamodb_processor_server.runtime.redis import try_redis
from dynamodb_processor_server.runtime.redis_url import checked_url
from dynamodb_processor_server.secret_settings import SecretSource
from dynamodb_processor_server.setting_types import token_key_ring
from dynamodb_processor_server.settings import Settings

T = TypeVar("T")


class Secret(Generic[T]):
    """A secret, and the parts of the server that get each one that comes into force.

    `source` is None for one that does not change; `interval` is in seconds between two reads.
    """

    def __init__(
        self, value: T, source: Reloadable[SecretText, T] | None = None, interval: float = 0.0
    ) -> None:
        self.source = source
        self._value = value
        self._interval = interval
        self._users: list[Callable[[T], None]] = []

    @property
    def current(self) -> T:
        """The secret in force."""
        return self._value if self.source is None else self.source.current

    def follow(self, use: Callable[[T], None]) -> None:
        """Call `use` with each secret that comes into force from now on."""
        self._users.append(use)

    def watch(
        self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> Coroutine[None, None, NoReturn] | None:
        """Return a coroutine that watches the source until it is cancelled, if there is one."""
        if self.source is None:
            return None
        return self.source.watch(self.adopt, every=self._interval, sleep=sleep)

    def adopt(self, value: T) -> None:
        """Pass a secret that comes into force to its users."""
        for use in self._users:
            use(value)


@dataclass(frozen=True, slots=True)
class Secrets:
    """The secrets in force; `redis_url` is None without Redis."""

    token_keys: Secret[tuple[TokenKey, ...]]
    redis_url: Secret[str] | None
    opener: SecretOpener

    def sources(self) -> dict[str, Reloadable[SecretText, Any]]:
        """Return the source of each secret that may change, by the secret's name."""
        named = {"token_keys": self.token_keys, "redis_url": self.redis_url}
        return {name: secret.source for name, secret in named.items() if secret and secret.source}

    def watches(self) -> Iterator[Coroutine[None, None, NoReturn]]:
        """Yield coroutines that keep the secrets up to date, until they are cancelled."""
        for secret in (self.token_keys, self.redis_url):
            if secret is not None and (watch := secret.watch()) is not None:
                yield watch


class SecretOpener:
    """Opens secrets at the sources that the settings name."""

    def __init__(self, settings: Settings, manager: SecretsManager) -> None:
        self._settings = settings
        self._manager = manager

    async def open(
        self,
        source: SecretSource,
        parse: Callable[[str], T],
        verify: Callable[[SecretSource, T], Awaitable[None]] | None = None,
    ) -> Secret[T]:
        """Return a secret.

        Args:
            source: Where it comes from.
            parse: Returns the value of its text; raises ValueError with the reason.
            verify: Awaited with each later value; raises ConfigurationError to refuse it. A value
                that it refused is tried again.

        Raises:
            ConfigurationError: It cannot be read, or has the wrong form.
        """
        setting, settings = source.setting, self._settings
        check = None if verify is None else partial(verify, source)
        match source.given:
            case SecretStr() as given:
                text = SecretText.of(setting, "", given.get_secret_value().encode())
                return Secret(_parsed(parse, text))
            case Path() as path:
                file = ReloadableFiles(
                    path,
                    partial(SecretText.read, setting, path),
                    partial(_parsed, parse),
                    retry_refused=check is not None,
                    verify=check,
                )
                return Secret(file.current, file, settings.reload_interval)
            case name:
                read = partial(self._read, setting, name)
                stored = Reloadable(
                    name,
                    await read(),
                    read,
                    partial(_parsed, parse),
                    retry_refused=check is not None,
                    verify=check,
                )
                return Secret(stored.current, stored, settings.secret_interval)

    async def open_keys_file(
        self, build: Callable[[ConfigDocument], T]
    ) -> Reloadable[ConfigDocument, T]:
        """Return the keys file, at a path or in a secret. Raises ConfigurationError."""
        path, name = self._settings.keys, self._settings.keys_secret
        if path is not None:
            return ReloadableFile(path, build)
        assert name is not None, "the settings have one of the two"

        async def read() -> ConfigDocument:
            content = await self._manager.read(name, "keys_secret")
            return ConfigDocument(Path(name), content)

        return Reloadable(name, await read(), read, build)

    async def _read(self, setting: str, name: str) -> SecretText:
        return SecretText.of(setting, name, await self._manager.read(name, setting))


async def open_secrets(settings: Settings, stack: AsyncExitStack) -> Secrets:
    """Return the secrets. Raises ConfigurationError for one that is missing or wrong."""
    settings.check_secrets()
    clients = Clients(settings.secret_client_settings(), SECRETS_MANAGER)
    manager = SecretsManager(await stack.enter_async_context(clients), settings.secret_timeout)
    opener = SecretOpener(settings, manager)
    keys, url = settings.secret_source("token_keys"), settings.secret_source("redis_url")
    own: tuple[TokenKey, ...] = (TokenKey("process", secrets.token_bytes(32)),)
    tls, prefix = settings.redis_tls(), settings.redis_prefix
    tls.check()
    parse = partial(checked_url, prefix=prefix, tls=tls)
    return Secrets(
        Secret(own) if keys is None else await opener.open(keys, token_key_ring),
        None if url is None else await opener.open(url, parse, partial(_verify_redis, prefix)),
        opener,
    )


def _parsed(parse: Callable[[str], T], text: SecretText) -> T:
    return text.parse(parse)


async def _verify_redis(prefix: str, source: SecretSource, url: str) -> None:
    """Raise ConfigurationError unless Redis can be used at a new URL: the earlier one may work."""
    try:
        await try_redis(url, prefix)
    except StoreError as error:
        reason = error.words or error.kind
        raise SecretText(source.setting, str(source.given), url).error(
            f"Redis does not accept the new URL: {reason}"
        ) from None
