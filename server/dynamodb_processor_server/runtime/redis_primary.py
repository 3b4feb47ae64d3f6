"""Connections to the primary of Redis that Sentinels or the nodes of a cluster name.

redis-py's own clients were tried: see docs/decisions/0044-redis-topologies.md. All keys of a fleet
are in one slot of a cluster, so one primary has them all, and a pool of connections to it suffices.
"""

from __future__ import annotations

from typing import Any, Final

from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import Connection, SSLConnection
from redis.exceptions import ClusterDownError, MovedError, ReadOnlyError, ResponseError
from redis.exceptions import ConnectionError as Unreachable

from dynamodb_processor_server.runtime.redis_finders import (
    ClusterFinder,
    PrimaryFinder,
    SentinelFinder,
)
from dynamodb_processor_server.runtime.redis_url import RedisUrl, Topology

_NOT_PRIMARY: Final = "READONLY"  # in an error of a script before Redis 7


class PrimaryPool(BlockingConnectionPool):
    """Connections to the primary of a finder, which may be another server later."""

    def __init__(
        self, finder: PrimaryFinder, connection_class: type = Connection, **options: Any
    ) -> None:
        followed = _FollowedTls if issubclass(connection_class, SSLConnection) else _Followed
        super().__init__(connection_class=followed, finder=finder, **options)
        self.finder = finder

    async def ensure_connection(self, connection: Any) -> None:
        """Connect; a connection to an earlier primary is closed before."""
        if connection.is_connected and (connection.host, connection.port) != self.finder.address:
            await connection.disconnect()
        await super().ensure_connection(connection)


class _Followed(Connection):
    """A connection to the primary of a finder at the time when it connects."""

    def __init__(self, *, finder: PrimaryFinder, **options: Any) -> None:
        super().__init__(**options)
        self._finder = finder

    async def _connect(self) -> None:
        self.host, self.port = await self._finder.find()
        try:
            await super()._connect()  # type: ignore[no-untyped-call]
        except BaseException:
            self._finder.doubt()
            raise

    async def read_response(self, *args: Any, **options: Any) -> Any:
        """Read a response; one of a server that is no primary breaks the connection.

        A node that has just started may take itself for the primary of a cluster that is down. So
        the next command looks for another one.
        """
        try:
            return await super().read_response(*args, **options)
        except ClusterDownError:
            self._finder.doubt()
            raise
        except ResponseError as error:
            if not isinstance(error, MovedError | ReadOnlyError) and _NOT_PRIMARY not in str(error):
                raise
        self._finder.doubt()
        await self.disconnect()
        raise Unreachable(f"{self.host}:{self.port} is not the primary any more")


class _FollowedTls(_Followed, SSLConnection):
    """The same with TLS."""


def open_finder(url: RedisUrl, key: str) -> PrimaryFinder | None:
    """Return the finder of the server with a key, None if the URL names the server."""
    match url.topology:
        case Topology.ONE_SERVER:
            return None
        case Topology.SENTINEL:
            return SentinelFinder(url)
        case Topology.CLUSTER:
            return ClusterFinder(url, key)
