"""A Redis with Sentinels and a Redis cluster for tests, whose nodes can be killed and paused."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import redis
from redis.crc import key_slot

from tests.support.lengths import PATIENCE
from tests.support.processes import free_port
from tests.support.redis_server import RedisServer

SERVICE: Final = "fleet"
#: The prefix of all keys in a cluster of tests.
PREFIX: Final = "{fleet}:"
SLOT: Final = key_slot(PREFIX.encode())
_RANGES: Final = ((0, 5_460), (5_461, 10_922), (10_923, 16_383))
#: A failover begins when a primary has been silent for so long.
SILENT_MS: Final = 700
#: Seconds. Sentinels let a primary that comes back be one for ten seconds.
_PATIENCE: Final = PATIENCE + 30.0
#: By default a primary waits five seconds for further replicas before it sends a copy of its data.
_COPY_AT_ONCE: Final = ("--repl-diskless-sync-delay", "0")


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Wait until a condition holds; servers that do not answer yet do not matter."""
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        with suppress(redis.RedisError, OSError):
            if condition():
                return
        time.sleep(0.02)
    raise AssertionError(f"in vain: {what}")


def ask(server: RedisServer, *words: str | int) -> Any:
    """Return a server's answer to a command."""
    with redis.Redis.from_url(server.url, socket_timeout=PATIENCE) as client:
        return client.execute_command(*words)


def is_replica(server: RedisServer) -> bool:
    """Return whether a server runs and is a replica."""
    with suppress(redis.RedisError, OSError):
        return bool(ask(server, "INFO", "replication")["role"] == "slave")
    return False


class _Sentinel(RedisServer):
    """A Sentinel, which keeps its state in a file."""

    def __init__(self, binary: str, directory: Path, primary: RedisServer, quorum: int) -> None:
        super().__init__(binary, directory)
        self._file = directory / "sentinel.conf"
        lines = (
            f"port {self.port}",
            "bind 127.0.0.1",
            f"sentinel monitor {SERVICE} 127.0.0.1 {primary.port} {quorum}",
            f"sentinel down-after-milliseconds {SERVICE} {SILENT_MS}",
            f"sentinel failover-timeout {SERVICE} 2000",
        )
        self._file.write_text("\n".join(lines) + "\n")

    def _command(self) -> list[str]:
        return [self._binary, str(self._file), "--sentinel"]


class SentinelGroup:
    """A primary with a replica, and three Sentinels that watch them."""

    def __init__(self, binary: str, directory: Path) -> None:
        first = RedisServer(binary, directory / "first", *_COPY_AT_ONCE)
        of_first = (*_COPY_AT_ONCE, "--replicaof", "127.0.0.1", str(first.port))
        self.servers = (first, RedisServer(binary, directory / "second", *of_first))
        self.sentinels = tuple(
            _Sentinel(binary, directory / f"sentinel-{number}", first, 2) for number in range(3)
        )
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        self.url = f"redis+sentinel://{hosts}/{SERVICE}"

    def start(self) -> None:
        """Start all of them, and wait until a failover is possible."""
        for server in (*self.servers, *self.sentinels):
            server.start()
        wait_for(self.is_complete, "Sentinels know each other and the replica")

    def is_complete(self) -> bool:
        """Return whether every Sentinel knows the others and a replica that is up."""
        return all(map(self._is_complete, self.sentinels))

    def _is_complete(self, sentinel: RedisServer) -> bool:
        with redis.Redis.from_url(sentinel.url, decode_responses=True) as client:
            state = client.sentinel_master(SERVICE)
            replicas = client.sentinel_slaves(SERVICE)
        others = int(state["num-other-sentinels"])
        links = [replica["master-link-status"] for replica in replicas]
        return others == len(self.sentinels) - 1 and links == ["ok"]

    @property
    def primary(self) -> RedisServer:
        """The server that most Sentinels call the primary."""
        ports: list[int] = []
        for sentinel in self.sentinels:
            with suppress(redis.RedisError, OSError):
                ports.append(self._named(sentinel))
        port = max(set(ports), key=ports.count)
        return next(server for server in self.servers if server.port == port)

    @property
    def replica(self) -> RedisServer:
        """The other server."""
        primary = self.primary
        return next(server for server in self.servers if server is not primary)

    def _named(self, sentinel: RedisServer) -> int:
        return int(ask(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1])

    def kill(self) -> None:
        """Kill all of them."""
        for server in (*self.sentinels, *self.servers):
            server.kill()


class _Node(RedisServer):
    """A node of a cluster; `public_port` is the port under which others know it."""

    def __init__(self, binary: str, directory: Path) -> None:
        self.bus = free_port()
        super().__init__(
            binary,
            directory,
            *_COPY_AT_ONCE,
            *("--cluster-enabled", "yes", "--cluster-port", str(self.bus)),
            *("--cluster-node-timeout", str(SILENT_MS)),
            *("--cluster-replica-validity-factor", "0"),  # an old copy may take over too
        )
        self.public_port = self.port

    def _command(self) -> list[str]:
        return [*super()._command(), "--cluster-announce-port", str(self.public_port)]


class ClusterGroup:
    """Three primaries, and a replica of the one that has the keys."""

    def __init__(self, binary: str, directory: Path) -> None:
        self.servers = tuple(_Node(binary, directory / f"node-{number}") for number in range(4))
        self.primaries: Sequence[_Node] = self.servers[:3]

    @property
    def url(self) -> str:
        """A URL that names three of the nodes."""
        hosts = ",".join(f"127.0.0.1:{server.public_port}" for server in self.primaries)
        return f"redis+cluster://{hosts}"

    def start(self) -> None:
        """Start the nodes, and wait until a failover is possible."""
        first, *others = self.servers
        for server in self.servers:
            server.start()
        for server, slots in zip(self.primaries, _RANGES, strict=True):
            ask(server, "CLUSTER", "ADDSLOTSRANGE", *slots)
        for server in others:
            ask(first, "CLUSTER", "MEET", "127.0.0.1", server.port, server.bus)
        wait_for(self._have_met, "the nodes know each other")
        owner = self.owner
        identity = ask(owner, "CLUSTER", "MYID").decode()
        replica = self.servers[3]
        wait_for(lambda: ask(replica, "CLUSTER", "REPLICATE", identity), "the replica is one")
        wait_for(self.has_replica, "the replica is up to date")

    def _have_met(self) -> bool:
        said = [ask(server, "CLUSTER", "INFO") for server in self.servers]
        return all(
            b"cluster_state:ok" in each and b"cluster_known_nodes:4" in each for each in said
        )

    @property
    def owner(self) -> _Node:
        """The node that has the keys, as most running nodes say."""
        ports: list[int] = []
        for server in (each for each in self.servers if not each.is_paused):
            with suppress(redis.RedisError, OSError):
                for first, last, node, *_ in ask(server, "CLUSTER", "SLOTS"):
                    if first <= SLOT <= last:
                        ports.append(node[1])
        port = max(set(ports), key=ports.count)
        return next(server for server in self.servers if server.public_port == port)

    @property
    def replica(self) -> _Node:
        """The replica of that node."""
        return next(each for each in self.servers if is_replica(each))

    @property
    def replicated(self) -> _Node:
        """The primary that has a replica."""
        found = [ask(each, "INFO", "replication") for each in self.servers]
        pairs = zip(self.servers, found, strict=True)
        return next(each for each, said in pairs if said["connected_slaves"])

    def has_replica(self) -> bool:
        """Return whether the node that has the keys has a replica that is up to date."""
        said = ask(self.owner, "INFO", "replication")
        return bool(said["connected_slaves"]) and said["slave0"]["state"] == "online"

    def other(self) -> _Node:
        """Return a primary that has none of the keys."""
        owner, replica = self.owner, self.replica
        return next(each for each in self.servers if each not in (owner, replica))

    def reshard(self, target: RedisServer) -> None:
        """Move the slot of the keys to another primary, as `redis-cli --cluster reshard` does."""
        source = self.owner
        here = ask(source, "CLUSTER", "MYID").decode()
        there = ask(target, "CLUSTER", "MYID").decode()
        ask(target, "CLUSTER", "SETSLOT", SLOT, "IMPORTING", here)
        ask(source, "CLUSTER", "SETSLOT", SLOT, "MIGRATING", there)
        while keys := ask(source, "CLUSTER", "GETKEYSINSLOT", SLOT, 100):
            ask(source, "MIGRATE", "127.0.0.1", target.port, "", 0, 5_000, "KEYS", *keys)
        for server in (target, source, *self.primaries):
            with suppress(redis.RedisError, OSError):
                ask(server, "CLUSTER", "SETSLOT", SLOT, "NODE", there)

    def kill(self) -> None:
        """Kill all nodes."""
        for server in self.servers:
            server.kill()
