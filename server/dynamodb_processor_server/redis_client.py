"""How Redis or Valkey is connected to: a primary, or what stands for one at one address."""

from __future__ import annotations

from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig

from dynamodb_processor_server.errors import ConfigurationError


def open_redis(url: str, timeout: float, connections: int) -> Any:
    """Return a client that connects when it is used.

    What is asked of it must do no harm when it is done twice: on a connection that has broken while
    nobody used it, it is. Callers bound what an answer takes.

    Args:
        url: Where the server is, and who asks.
        timeout: Seconds that connecting may take, and waiting for a connection.
        connections: How many there are at most.

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
            retry=Retry(NoBackoff(), 1),
            # With these, connections are not looked at for what should not be there any more.
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
        )
    except ValueError:
        # Without the cause: it may say what is secret in the URL.
        raise ConfigurationError(
            "redis_url: must be redis://, rediss:// or unix:// and an address"
        ) from None
    return Redis(connection_pool=pool)


async def close_redis(client: Any) -> None:
    """Close all connections of a client."""
    await client.aclose()
    await client.connection_pool.disconnect()
