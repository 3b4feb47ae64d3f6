"""How Redis or Valkey is reached: a primary, or what stands for one at one address."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import inf
from typing import Any, Final

import structlog
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

_log = structlog.get_logger(__name__)


_CONNECT_SECONDS: Final = 3.0
_MAX_WORDS: Final = 300  # characters of what Redis says that are logged
_SAME_REASON_SECONDS: Final = 60.0
_MAX_REASONS: Final = 20

# What an operator can do about what Redis says.
NEEDS_BRACES: Final = "several cluster nodes need a redis_prefix in braces, such as {fleet}:"
_REMEDIES: Final = (
    ("non local key", NEEDS_BRACES),
    ("CROSSSLOT", NEEDS_BRACES),
    ("MOVED ", f"redis_url must lead to the node that has the keys, and {NEEDS_BRACES}"),
    ("permission", "see 'What Redis must allow' in docs/architecture/security.md"),
    ("read only replica", "redis_url must lead to the primary"),
)


class RedisCommandError(Exception):
    """A script was not run, or may not have been.

    `kind` is one of few, for metrics. `words` are Redis's or its client's own, for the log.
    """

    def __init__(self, kind: str, words: str = "") -> None:
        super().__init__(kind)
        self.kind = kind
        self.words = words


class RedisLog:
    """Logs why Redis cannot be used: each reason when it comes up, then once a minute at most."""

    def __init__(self, purpose: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Create it; the events are `<purpose>_not_reached` and `<purpose>_reached`."""
        self._purpose = purpose
        self._clock = clock
        self._failing = False
        self._logged: dict[tuple[str, str], float] = {}  # when, by reason; the latest last

    def failed(self, kind: str, words: str = "", **more: Any) -> None:
        """Log a failure, unless its reason was logged a moment ago."""
        self._failing = True
        reason, now = (kind, words), self._clock()
        if now - self._logged.get(reason, -inf) < _SAME_REASON_SECONDS:
            return
        self._logged.pop(reason, None)
        self._logged[reason] = now
        if len(self._logged) > _MAX_REASONS:
            del self._logged[next(iter(self._logged))]
        if words:
            more["redis_says"] = words
        if remedy := remedy_for(words):
            more["remedy"] = remedy
        _log.warning(f"{self._purpose}_not_reached", reason=kind, **more)

    def succeeded(self) -> None:
        """Log the end of failures; the next one is logged whatever its reason."""
        if self._failing:
            self._failing = False
            self._logged.clear()
            _log.info(f"{self._purpose}_reached")


def remedy_for(words: str) -> str:
    """Return what an operator can do about what Redis says, "" if that is not known."""
    return next((remedy for part, remedy in _REMEDIES if part in words), "")


def open_redis(url: str, timeout: float, connections: int, retries: int = 1) -> Any:
    """Return a client that connects when it is used.

    With retries, what is asked of it must do no harm when it is done twice: on a connection that
    has broken while nobody used it, it is. Callers bound what an answer takes.

    Args:
        url: Where the server is, and who asks.
        timeout: Seconds that waiting for a free connection may take. Connecting has three.
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
            socket_connect_timeout=max(timeout, _CONNECT_SECONDS),
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
    """Return what a script returns that was registered with a client; raise RedisError."""
    with _failures():
        return await script(keys=keys, args=arguments)


async def connect(client: Any, scripts: Sequence[Any] = ()) -> None:
    """Have a connection, and scripts loaded, in three seconds; raise RedisError."""
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
        raise RedisCommandError("timeout") from None
    except (ResponseError, AuthenticationError, AuthorizationError) as error:
        # Out of memory, read-only, still loading, forbidden.
        raise RedisCommandError("refused", _words(error)) from None
    except (Unreachable, OSError, RuntimeError) as error:  # the last one is uvloop's, see above
        raise RedisCommandError("unreachable", _words(error)) from None
    except (RedisError, ValueError, TypeError, IndexError, AttributeError, UnicodeError):
        raise RedisCommandError("garbage") from None  # what answers does not speak the protocol


def _words(error: Exception) -> str:
    """Return an error's text, which never has what is secret in the URL."""
    # The client takes the code off, and without it this one is only a number and an address.
    text = f"MOVED {error}" if isinstance(error, MovedError) else str(error)
    return "".join(part if part.isprintable() else " " for part in text)[:_MAX_WORDS]


async def close_redis(client: Any) -> None:
    """Close all connections of a client."""
    await client.aclose()
    await client.connection_pool.disconnect()
