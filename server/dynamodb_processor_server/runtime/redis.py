"""Opens clients of Redis or Valkey, and runs scripts on them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    MovedError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as Unreachable
from redis.exceptions import TimeoutError as TooSlow

from dynamodb_processor_server.errors import ConfigurationError
from dynamodb_processor_server.runtime.guarded_store import StoreError
from dynamodb_processor_server.runtime.redis_finders import NO_NOTIFICATIONS, PrimaryFinder
from dynamodb_processor_server.runtime.redis_primary import PrimaryPool, open_finder
from dynamodb_processor_server.runtime.redis_url import Address, parse_redis_url

_CONNECT_SECONDS: Final = 3.0
_CONFIRM_SHARE: Final = 0.7  # of a command's timeout; the rest is for the command itself
_MAX_WORDS: Final = 300  # characters of a Redis error that are logged
_REDIRECTIONS: Final = ((MovedError, "MOVED "), (AskError, "ASK "))


def open_redis(
    url: str, timeout: float, connections: int, retries: int = 1, *, key: str = ""
) -> Any:
    """Return a client that connects on first use.

    With retries, a command may run twice, on a connection that broke while it was idle: commands
    must allow that. Callers bound the time of each command.

    Args:
        url: The address of the server, of its Sentinels or of nodes of its cluster, with the user
            and password.
        timeout: Seconds to wait for a free connection. Connecting may take three.
        connections: The most connections.
        retries: How often a command is sent again when its connection broke.
        key: A key in the slot of all keys that the client uses.

    Raises:
        ConfigurationError: The URL is not a Redis URL.
    """
    try:
        parsed = parse_redis_url(url)
        options: dict[str, Any] = {
            "max_connections": connections,
            "timeout": timeout,
            # No timeout for sending and receiving: the client would wait with `wait_for`, which in
            # Python 3.11 can swallow a cancellation.
            "socket_timeout": None,
            "socket_connect_timeout": max(timeout, _CONNECT_SECONDS),
            "retry": Retry(NoBackoff(), retries),
            # uvloop's error for a write to a connection that was reset; nothing has been written.
            "retry_on_error": [RuntimeError],
            "maint_notifications_config": NO_NOTIFICATIONS,
            **parsed.options,
        }
        finder = open_finder(parsed, key)
        pool = (
            BlockingConnectionPool(**options) if finder is None else PrimaryPool(finder, **options)
        )
    except ValueError as error:
        # Without the cause, which may show the URL's password.
        raise ConfigurationError(f"redis_url: {error}") from None
    return Redis(connection_pool=pool)


class _InUse:
    """A client, and the number of its commands that are under way."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self._commands = 0
        self._ended = asyncio.Event()

    @property
    def finder(self) -> PrimaryFinder | None:
        """The finder of the primary, None where the URL names the server itself."""
        pool = self.client.connection_pool
        return pool.finder if isinstance(pool, PrimaryPool) else None

    @contextmanager
    def command(self) -> Iterator[None]:
        """Keep the connections open for a command; its errors become StoreError."""
        self._commands += 1
        try:
            with _failures():
                yield
        finally:
            self._commands -= 1
            self._ended.set()

    async def close(self) -> None:
        """Close the connections when the commands that are under way have ended."""
        while self._commands:
            self._ended.clear()
            await self._ended.wait()
        await close_redis(self.client)


class RedisClient:
    """Runs scripts on a Redis whose URL can be replaced meanwhile.

    Commands that are under way end on the earlier connections, which are closed then. The arguments
    are those of `open_redis`.
    """

    def __init__(
        self, url: str, timeout: float, connections: int, retries: int = 1, *, key: str = ""
    ) -> None:
        self._timeout = timeout
        self._open = partial(
            open_redis, timeout=timeout, connections=connections, retries=retries, key=key
        )
        self._current = _InUse(self._open(url))
        self._closing: set[asyncio.Task[None]] = set()

    def use(self, url: str) -> None:
        """Send commands to another URL from now on. Raises ConfigurationError."""
        earlier, self._current = self._current, _InUse(self._open(url))
        task = asyncio.create_task(earlier.close(), name="redis: close")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def script(self, text: str) -> Any:
        """Return a script to run."""
        return self._current.client.register_script(text)

    async def connect(self, scripts: Sequence[Any]) -> None:
        """Open a connection and load scripts, within three seconds; raise StoreError."""
        await connect(self._current.client, scripts)

    async def run(
        self, script: Any, keys: Sequence[str | bytes], arguments: Sequence[bytes | str | int]
    ) -> Any:
        """Run a script; raise StoreError."""
        current = self._current
        with current.command():
            return await script(keys=keys, args=arguments, client=current.client)

    async def primary(self) -> Address | None:
        """Return the primary, None where the URL names the server itself; raise StoreError."""
        current = self._current
        if (finder := current.finder) is None:
            return None
        with current.command():
            return await finder.find()

    async def confirm(self, primary: Address | None) -> None:
        """Ask whether it has been the primary until now; raise StoreError if it may not have."""
        current = self._current
        if primary is not None and (finder := current.finder) is not None:
            with current.command():
                await finder.confirm(primary, self._timeout * _CONFIRM_SHARE)

    async def close(self) -> None:
        """Close all connections."""
        await close_redis(self._current.client)
        if self._closing:
            await asyncio.wait(self._closing)


async def try_redis(url: str, key: str = "") -> None:
    """Connect to a Redis once, within three seconds. Raises StoreError and ConfigurationError."""
    client = open_redis(url, _CONNECT_SECONDS, 1, key=key)
    try:
        await connect(client)
    finally:
        await close_redis(client)


async def run_script(
    script: Any, keys: Sequence[str | bytes], arguments: Sequence[bytes | str | int]
) -> Any:
    """Run a script that was registered with a client; raise StoreError."""
    with _failures():
        return await script(keys=keys, args=arguments)


async def connect(client: Any, scripts: Sequence[Any] = ()) -> None:
    """Open a connection and load scripts, within three seconds; raise StoreError."""
    with _failures():
        async with asyncio.timeout(_CONNECT_SECONDS):
            await client.ping()
            for script in scripts:
                await client.script_load(script.script)


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except (TooSlow, TimeoutError):
        raise StoreError("timeout") from None
    except (ResponseError, AuthenticationError, AuthorizationError) as error:
        # Out of memory, read-only, still loading, forbidden.
        raise StoreError("refused", _words(error)) from None
    except (Unreachable, OSError, RuntimeError) as error:  # the last one is uvloop's, see above
        raise StoreError("unreachable", _words(error)) from None
    except (RedisError, ValueError, TypeError, IndexError, AttributeError, UnicodeError):
        raise StoreError("garbage") from None  # the server does not speak Redis's protocol


def _words(error: Exception) -> str:
    """Return an error's text, which never has the URL's password."""
    # The client removes the code, and without it this text is only a number and an address.
    code = next((code for kind, code in _REDIRECTIONS if isinstance(error, kind)), "")
    text = f"{code}{error}"
    return "".join(part if part.isprintable() else " " for part in text)[:_MAX_WORDS]


async def close_redis(client: Any) -> None:
    """Close all connections of a client."""
    pool = client.connection_pool
    await client.aclose()
    await pool.disconnect()
    if isinstance(pool, PrimaryPool):
        await pool.finder.close()
