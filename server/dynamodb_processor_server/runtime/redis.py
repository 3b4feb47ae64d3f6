"""Opens clients of Redis or Valkey: of a primary, or of a proxy for one, at one address."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    MovedError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as Unreachable
from redis.exceptions import TimeoutError as TooSlow
from redis.maint_notifications import MaintNotificationsConfig

from dynamodb_processor_server.errors import ConfigurationError
from dynamodb_processor_server.runtime.guarded_store import StoreError

_CONNECT_SECONDS: Final = 3.0
_MAX_WORDS: Final = 300  # characters of a Redis error that are logged


def open_redis(url: str, timeout: float, connections: int, retries: int = 1) -> Any:
    """Return a client that connects on first use.

    With retries, a command may run twice, on a connection that broke while it was idle: commands
    must allow that. Callers bound the time of each command.

    Args:
        url: The address of the server, with the user and password.
        timeout: Seconds to wait for a free connection. Connecting may take three.
        connections: The most connections.
        retries: How often a command is sent again when its connection broke.

    Raises:
        ConfigurationError: The URL is not a Redis URL.
    """
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=connections,
            timeout=timeout,
            # No timeout for sending and receiving: the client would wait with `wait_for`, which in
            # Python 3.11 can swallow a cancellation.
            socket_timeout=None,
            socket_connect_timeout=max(timeout, _CONNECT_SECONDS),
            retry=Retry(NoBackoff(), retries),
            # uvloop's error for a write to a connection that was reset; nothing has been written.
            retry_on_error=[RuntimeError],
            # With these, the client does not check connections for unread data before it uses them.
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
        )
    except ValueError:
        # Without the cause, which may show the URL's password.
        raise ConfigurationError(
            "redis_url: must be redis://, rediss:// or unix:// and an address"
        ) from None
    return Redis(connection_pool=pool)


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
    text = f"MOVED {error}" if isinstance(error, MovedError) else str(error)
    return "".join(part if part.isprintable() else " " for part in text)[:_MAX_WORDS]


async def close_redis(client: Any) -> None:
    """Close all connections of a client."""
    await client.aclose()
    await client.connection_pool.disconnect()
