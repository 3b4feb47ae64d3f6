"""Lua scripts in Redis or Valkey: how it is reached, and in which ways it fails."""

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
    """A script was not run, or nobody knows. `kind` is one of few, for metrics."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class RedisScripts:
    """Runs scripts in the Redis behind `url`, over at most so many connections.

    Nothing is connected before it is needed. Where a connection turns out to be broken a script is
    run once more, which does little harm even if it had been run. Connecting, and waiting for one
    of the connections, may take `timeout` seconds each; callers bound the whole. Raises
    ConfigurationError when the URL is none of Redis's.
    """

    def __init__(self, url: str, connections: int, timeout: float) -> None:
        try:
            # No timeout for what is sent and received: the client would wait with `wait_for`, which
            # in Python 3.11 can swallow a cancellation.
            pool = BlockingConnectionPool.from_url(
                url,
                max_connections=connections,
                timeout=timeout,
                socket_timeout=None,
                socket_connect_timeout=timeout,
                retry=Retry(NoBackoff(), 1),
                # With these, connections are not looked at for what should not be there any more.
                maint_notifications_config=MaintNotificationsConfig(enabled=False),
            )
        except ValueError:
            # Without the cause: it may say what is secret in the URL.
            raise ConfigurationError(
                "redis_url: must be redis://, rediss:// or unix:// and an address"
            ) from None
        self._redis: Any = Redis(connection_pool=pool)

    def register(self, source: str) -> Any:
        """Return a script, to be handed to `run`."""
        return self._redis.register_script(source)

    async def run(
        self, script: Any, keys: Sequence[str | bytes], arguments: Sequence[bytes | str | int]
    ) -> Any:
        """Return what a script returns; raise RedisFailed."""
        try:
            return await script(keys=keys, args=arguments)
        except TooSlow:
            raise RedisFailed("timeout") from None
        except ResponseError:  # out of memory, read-only, still loading, scripts forbidden
            raise RedisFailed("refused") from None
        except (Unreachable, OSError):
            raise RedisFailed("unreachable") from None
        except (RedisError, ValueError, TypeError, IndexError, AttributeError, UnicodeError):
            raise RedisFailed("garbage") from None  # what answers does not speak the protocol

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()
        await self._redis.connection_pool.disconnect()
