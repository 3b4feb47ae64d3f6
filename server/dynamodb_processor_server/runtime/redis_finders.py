"""Finds the primary of Redis by asking Sentinels or the nodes of a cluster.

An earlier primary may answer for a while after another took over. So a replica of the service that
relies on the data asks again whether the primary is still the one: `PrimaryFinder.confirm`.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from math import inf
from typing import Any, ClassVar, Final, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import ConnectionError as Unreachable
from redis.exceptions import MovedError, RedisError
from redis.maint_notifications import MaintNotificationsConfig

from dynamodb_processor_server.runtime.redis_url import Address, RedisUrl

_T = TypeVar("_T")
_Request = Callable[[Address, Any], Awaitable[Address | None]]
_Asked = dict[Address, asyncio.Task[Address | None]]

_ANSWER_SECONDS: Final = 1.0  # a server that takes longer to answer counts as silent
_GRACE_SECONDS: Final = 0.03  # the wait for other answers after the first one
_FIND_SECONDS: Final = 3.0
_SURE_SECONDS: Final = 0.5  # for which an answer serves further connections
# A cluster may get other replicas, which are to be asked in `confirm`.
_SEARCH_SECONDS: Final = 10.0
_MAX_NODES: Final = 9  # of a cluster that are asked
#: A server that is asked may not even speak Redis's protocol.
_FAILURES: Final = (
    *(RedisError, OSError, RuntimeError),
    *(ValueError, TypeError, IndexError, AttributeError),
)

#: With these, redis-py does not check connections for unread data before it uses them.
NO_NOTIFICATIONS: Final = MaintNotificationsConfig(enabled=False)


class PrimaryFinder(ABC):
    """Asks servers where the primary is.

    `address` is the latest answer, None before the first one. A server that does not answer is not
    asked again before it does, and delays no answer of another.
    """

    #: Names the servers in errors.
    servers: ClassVar[str]

    def __init__(self, url: RedisUrl) -> None:
        self.address: Address | None = None
        self._url = url
        self._clients: dict[Address, Any] = {}
        self._asked_to_find: _Asked = {}
        self._asked_to_confirm: _Asked = {}
        self._finding: asyncio.Task[Address] | None = None
        self._confirming: asyncio.Task[None] | None = None
        self._confirming_next: asyncio.Task[None] | None = None
        self._sure_until = self._search_again = -inf  # in the loop's time
        self._failure = ""  # the latest error of a server, in its words

    async def find(self) -> Address:
        """Return the address that most servers name; raise redis-py's ConnectionError if none does.

        Callers that ask at the same time share the answer, and it serves for half a second more.
        """
        if self.address is not None and _now() < self._sure_until:
            return self.address
        return await _outcome(self._search())

    def _search(self) -> asyncio.Task[Address]:
        if self._finding is None or self._finding.done():
            self._finding = asyncio.create_task(self._find(), name="redis: find the primary")
            self._finding.add_done_callback(_mark_as_seen)
        return self._finding

    def doubt(self) -> None:
        """Ask anew for the next connection, because the primary is none or cannot be reached."""
        self._sure_until = -inf

    async def confirm(self, primary: Address, seconds: float) -> None:
        """Ask whether a primary that was found still is; raise ConnectionError if that is denied.

        Answers that take longer than `seconds` do not count. Callers that wait for others' answers
        share the next ones: those under way may be older than a caller's own command.
        """
        if self._confirming_next is None:
            task = asyncio.create_task(self._confirm_next(seconds), name="redis: confirm")
            task.add_done_callback(_mark_as_seen)
            self._confirming_next = task
        await _outcome(self._confirming_next)
        if self.address != primary:
            raise Unreachable("another primary was found meanwhile")

    async def close(self) -> None:
        """Close the connections."""
        own = (self._finding, self._confirming, self._confirming_next)
        asked = (*self._asked_to_find.values(), *self._asked_to_confirm.values())
        tasks = [task for task in (*own, *asked) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._close_all_but(())

    async def _close_all_but(self, servers: Iterable[Address]) -> None:
        for server in self._clients.keys() - set(servers):
            client = self._clients.pop(server)
            await client.aclose()
            await client.connection_pool.disconnect()

    @abstractmethod
    def _candidates(self) -> Iterable[Address]:
        """Return the servers to ask."""

    @abstractmethod
    async def _ask(self, server: Address, client: Any) -> Address | None:
        """Return the primary that one server names, None if it does not know."""

    @abstractmethod
    async def _confirm(self, seconds: float) -> None:
        """Raise ConnectionError if a server denies that the primary is still the latest one."""

    async def _confirm_next(self, seconds: float) -> None:
        if self._confirming is not None:
            await asyncio.wait((self._confirming,))
        self._confirming, self._confirming_next = self._confirming_next, None
        began = _now()
        await self._confirm(seconds)
        self._sure_until = began + _SURE_SECONDS
        if began >= self._search_again:
            self._search()  # nobody waits for it

    async def _find(self) -> Address:
        began, servers = _now(), self._candidates()
        named = Counter(await self._answers(servers, self._ask, _FIND_SECONDS, self._asked_to_find))
        if not named:
            raise Unreachable(f"no {self.servers} names the primary: {self._failure or 'silence'}")
        # Where as many name another one, that one is newer.
        *_, self.address = max(
            (count, address != self.address, address) for address, count in named.items()
        )
        self._sure_until = began + _SURE_SECONDS
        self._search_again = began + _SEARCH_SECONDS
        # Of a cluster whose nodes are replaced, the connections to earlier ones would stay.
        asked = (*self._asked_to_find, *self._asked_to_confirm)
        await self._close_all_but((*self._candidates(), *servers, *asked))
        return self.address

    async def _answers(
        self, servers: Iterable[Address], ask: _Request, seconds: float, asked: _Asked
    ) -> list[Address]:
        """Return the answers that arrive in time, of the servers that are not in `asked`."""
        pending = {self._put(ask, each, asked) for each in servers if each not in asked}
        answers: list[Address] = []
        deadline = _now() + seconds
        while pending:
            left = deadline - _now()
            done, pending = await asyncio.wait(
                pending,
                timeout=min(left, _GRACE_SECONDS) if answers else left,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not done:
                break
            answers += [address for task in done if (address := task.result()) is not None]
        return answers

    def _put(
        self, request: _Request, server: Address, asked: _Asked
    ) -> asyncio.Task[Address | None]:
        async def ask() -> Address | None:
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    return await request(server, self._client(server))
            except _FAILURES as error:
                self._failure = str(error)
                return None
            finally:
                del asked[server]

        task = asyncio.create_task(ask(), name="redis: ask for the primary")
        asked[server] = task
        return task

    def _client(self, server: Address) -> Any:
        if server not in self._clients:
            self._clients[server] = self._open(server)
        return self._clients[server]

    def _open(self, server: Address) -> Any:
        host, port = server
        pool = BlockingConnectionPool(
            max_connections=2,
            timeout=_ANSWER_SECONDS,
            socket_timeout=None,
            socket_connect_timeout=_ANSWER_SECONDS,
            retry=Retry(NoBackoff(), 1),
            retry_on_error=[RuntimeError],
            maint_notifications_config=NO_NOTIFICATIONS,
            **self._url.seed_options | {"host": host, "port": port},
        )
        return Redis(connection_pool=pool)


class SentinelFinder(PrimaryFinder):
    """Asks Sentinels. The first one that knows of a failover denies the earlier primary."""

    servers = "Sentinel"

    async def _confirm(self, seconds: float) -> None:
        """Ask every Sentinel; at least one must confirm the primary, and none deny it."""
        known, asked = self.address, self._asked_to_confirm
        named = set(await self._answers(self._candidates(), self._ask, seconds, asked))
        if not named:
            raise Unreachable(f"no Sentinel confirms the primary: {self._failure or 'silence'}")
        others = ", ".join(
            f"{host}:{port}" for host, port in sorted(named) if (host, port) != known
        )
        if others:
            self.address = None
            raise Unreachable(f"a Sentinel names another primary: {others}")

    def _candidates(self) -> Iterable[Address]:
        return self._url.seeds

    async def _ask(self, server: Address, client: Any) -> Address | None:
        answer = await client.sentinel_get_master_addr_by_name(self._url.service)
        return None if answer is None else (_text(answer[0]), int(answer[1]))


class ClusterFinder(PrimaryFinder):
    """Asks nodes of a cluster for the one that has the slot of a key."""

    servers = "node of the cluster"

    def __init__(self, url: RedisUrl, key: str) -> None:
        super().__init__(url)
        self._key = key
        self._slot = key_slot(key.encode())
        # The primaries that were named, each with its replicas: by the last search that ended, and
        # by the one under way.
        self._shards: dict[Address, tuple[Address, ...]] = {}
        self._named_shards: dict[Address, tuple[Address, ...]] = {}

    async def _find(self) -> Address:
        self._named_shards = {}
        address = await super()._find()
        self._shards = self._named_shards
        return address

    async def _confirm(self, seconds: float) -> None:
        """Ask the replicas of the primary, none of which may have taken over.

        Nodes of a cluster tell a primary that is no more one, but only once they reach it.
        """
        known = self.address
        shard = self._shards.get(known, ()) if known is not None else ()
        replicas = [server for server in shard if server != known]
        if await self._answers(replicas, self._ask_replica, seconds, self._asked_to_confirm):
            self.address = None
            raise Unreachable("another node of the cluster has become the primary")

    def _candidates(self) -> Iterable[Address]:
        known = [server for shard in self._shards.values() for server in shard]
        return tuple(dict.fromkeys((*self._url.seeds, *known)))[:_MAX_NODES]

    async def _ask(self, server: Address, client: Any) -> Address | None:
        for first, last, *nodes in await client.execute_command("CLUSTER", "SLOTS"):
            if int(first) <= self._slot <= int(last):
                # A node that does not know its own name leaves it empty.
                shard = tuple((_text(node[0]) or server[0], int(node[1])) for node in nodes)
                self._named_shards[shard[0]] = shard
                return shard[0]
        return None

    async def _ask_replica(self, server: Address, client: Any) -> Address | None:
        """Return the server's address if it has become the primary."""
        try:
            await client.get(self._key)
        except MovedError:
            return None  # the short and usual answer
        return server if await self._ask(server, client) == server else None


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _outcome(task: asyncio.Task[_T]) -> _T:
    """Return the result of a task that callers share: one that is cancelled leaves it running.

    Raises ConnectionError if the task was cancelled, by `PrimaryFinder.close`. To pass that on
    would cancel the callers, among them tasks that run as long as the server.
    """
    await asyncio.wait((task,))
    if task.cancelled():
        raise Unreachable("the connections were closed")
    return task.result()


def _mark_as_seen(task: asyncio.Task[Any]) -> None:
    """Keep asyncio from logging an error that no caller waits for any more."""
    if not task.cancelled():
        task.exception()


def _text(name: bytes | str | None) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else name or ""
