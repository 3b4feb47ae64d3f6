"""How Redis or Valkey is reached: a primary, or what stands for one at one address."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as Unreachable
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as TooSlow
from redis.maint_notifications import MaintNotificationsConfig

from dynamodb_processor_server.errors import ConfigurationError


class RedisFailed(Exception):
    """A script was not run, or may not have been. `kind` is one of few, for metrics."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


def open_redis(url: str, timeout: float, connections: int, retries: int = 1) -> Any:
    """Return a client that connects when it is used.

    With retries, what is asked of it must do no harm when it is done twice: on a connection that
    has broken while nobody used it, it is. Callers bound what an answer takes.

    Args:
        url: Where the server is, and who asks.
        timeout: Seconds that connecting may take, and waiting for a connection.
        connections: How many there are at most.
        retries: How often to ask again on a connection that broke.

    Raises:
        ConfigurationError: The URL is none of Redis's.
    """
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=connections,
            timeout=timeout,
            # No timeout for what is sent and received: the client would wait with `wait_for`, which
            # in Python 3.11 can swallow a cancellation.
            socket_timeout=None,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), retries),
            # uvloop's error for writing to a connection that was reset; nothing has been written.
            retry_on_error=[RuntimeError],
            # With these, connections are not looked at for what should not be there any more.
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
        )
    except ValueError:
        # Without the cause: it may say what is secret in the URL.
        raise ConfigurationError(
            "redis_url: must be redis://, rediss:// or unix:// and an address"
        ) from None
    return Redis(connection_pool=pool)


async def run_script(
    script: Any, keys: Sequence[str | bytes], arguments: Sequence[bytes | str | int]
) -> Any:
    """Return what a script returns that was registered with a client; raise RedisFailed."""
    try:
        return await script(keys=keys, args=arguments)
    except TooSlow:
        raise RedisFailed("timeout") from None
    except ResponseError:  # out of memory, read-only, still loading, scripts forbidden
        raise RedisFailed("refused") from None
    except (Unreachable, OSError, RuntimeError):  # the last one is uvloop's, see above
        raise RedisFailed("unreachable") from None
    except (RedisError, ValueError, TypeError, IndexError, AttributeError, UnicodeError):
        raise RedisFailed("garbage") from None  # what answers does not speak the protocol


async def close_redis(client: Any) -> None:
    """Close all connections of a client."""
    await client.aclose()
    await client.connection_pool.disconnect()
