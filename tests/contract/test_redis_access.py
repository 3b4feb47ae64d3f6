"""Redis with a usual access list, behind a slow connection, and as a cluster."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import redis
import structlog

from dynamodb_processor_server.cache.generations import Generations
from dynamodb_processor_server.cache.redis.encryption import PageCipher
from dynamodb_processor_server.cache.redis.invalidation_log import InvalidationLogFollower
from dynamodb_processor_server.cache.redis.port import LookupRequest
from dynamodb_processor_server.cache.redis.store import RedisStore
from dynamodb_processor_server.cli.redis_report import report_on_redis
from dynamodb_processor_server.query.page_token import TokenKey
from dynamodb_processor_server.runtime.guarded_store import StoreError
from dynamodb_processor_server.runtime.redis_log import RedisLog
from tests.support.processes import free_port
from tests.support.redis_server import RedisServer
from tests.support.running import eventually

_PASSWORD: Final = "rather-secret"
_PREFIX: Final = "fleet:"
_USUAL: Final = ("+@all", "-@dangerous")  # forbids INFO


class RestrictedServer:
    """A server with a user "ddb" that may use keys of one prefix."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.url = server.url.replace("redis://", f"redis://ddb:{_PASSWORD}@")

    @contextlib.contextmanager
    def admin(self) -> Iterator[Any]:
        """A client with all permissions."""
        with redis.Redis.from_url(self.server.url) as client:
            yield client

    def allow(self, *rules: str) -> None:
        """Set the user's permissions."""
        with self.admin() as client:
            client.execute_command(
                "ACL", "SETUSER", "ddb", "reset", "on", f">{_PASSWORD}", f"~{_PREFIX}*", *rules
            )


@pytest.fixture
def restricted(redis_binary: str, tmp_path: Path) -> Iterator[RestrictedServer]:
    """A server whose user has the usual permissions."""
    server = RedisServer(redis_binary, tmp_path)
    server.start()
    restricted = RestrictedServer(server)
    restricted.allow(*_USUAL)
    yield restricted
    server.kill()


@pytest.fixture
async def store(restricted: RestrictedServer) -> AsyncIterator[RedisStore]:
    """The shared cache of that user."""
    store = RedisStore(restricted.url, 1.0, _PREFIX, 10.0)
    yield store
    await store.close()


async def test_the_shared_cache_works_without_info(store: RedisStore) -> None:
    """Pages are stored and found, and invalidations reach the log."""
    await store.connect()
    first = await store.poll(b"", 0, 10)
    request = LookupRequest(first.epoch, b"page", (b"tag",), 0.0, 60.0)
    missed = await store.lookup(request)
    await store.store(request, missed.generations, b"value", 60.0)
    assert (await store.lookup(request)).page == b"value"
    await store.invalidate((b"tag",), b"event")
    assert (await store.lookup(request)).page is None
    polled = await store.poll(first.epoch, first.sequence, 10)
    assert [event for _, event in polled.events] == [b"event"]
    assert (await store.poll(polled.epoch, polled.sequence, 10)).epoch == first.epoch


async def test_data_restored_by_a_restart_is_not_used(
    restricted: RestrictedServer, store: RedisStore
) -> None:
    """A snapshot has an old heartbeat, so the loss of later writes is detected."""
    first = await store.poll(b"", 0, 10)
    with restricted.admin() as client:
        beat = int(client.get(f"{_PREFIX}heartbeat"))
        client.set(f"{_PREFIX}heartbeat", beat - 1_000)  # a second between snapshot and restart
        client.save()
    await store.invalidate((b"tag",), b"lost event")
    restricted.server.kill()
    restricted.server.start()
    restricted.allow(*_USUAL)
    with contextlib.suppress(StoreError):  # on the connection that broke
        await store.connect()
    again = await store.poll(first.epoch, first.sequence, 10)
    assert again.epoch != first.epoch


async def test_a_server_that_allows_info_again_has_its_run_in_the_next_epoch(
    restricted: RestrictedServer, store: RedisStore
) -> None:
    """The run ID detects each restart, however fast it is."""
    first = await store.poll(b"", 0, 10)
    assert len(first.epoch) == 32
    restricted.allow(*_USUAL, "+info")
    assert (await store.poll(first.epoch, 1, 10)).epoch == first.epoch
    await store.renew(first.epoch)
    second = await store.poll(b"", 0, 10)
    assert len(second.epoch) == 72
    restricted.allow(*_USUAL)
    assert len((await store.poll(second.epoch, 1, 10)).epoch) == 32


def log_of(store: RedisStore, timeout: float) -> InvalidationLogFollower:
    """Return a follower of the store's invalidation log."""
    return InvalidationLogFollower(
        store, PageCipher((TokenKey("a", b"k" * 32),)), Generations(), timeout
    )


async def test_each_reason_is_logged_in_the_words_of_redis(
    restricted: RestrictedServer, store: RedisStore
) -> None:
    """The remedy is logged if it is known, and the password never."""
    log = log_of(store, 5.0)
    await log.poll()
    with structlog.testing.capture_logs() as logs:
        for rules in ((*_USUAL, "-xrange"), (*_USUAL, "-@scripting"), (*_USUAL, "-xrange"), _USUAL):
            restricted.allow(*rules)
            for _ in range(3):
                await log.poll()
    said = [(line["event"], line.get("reason"), line.get("redis_says", "")) for line in logs]
    assert [part[:2] for part in said] == [
        ("shared_cache_not_reached", "refused"),
        ("shared_cache_not_reached", "refused"),
        ("shared_cache_reached", None),
    ]
    assert "xrange" in said[0][2]
    assert "evalsha" in said[1][2]
    assert logs[0]["remedy"] == "see 'What Redis must allow' in docs/architecture/security.md"
    assert _PASSWORD not in repr(logs)


async def test_a_wrong_password_is_a_refusal(restricted: RestrictedServer) -> None:
    """It differs from a server that cannot be reached."""
    store = RedisStore(restricted.url.replace("rather", "less"), 1.0, _PREFIX, 10.0)
    with pytest.raises(StoreError) as failed:
        await store.connect()
    assert failed.value.kind == "refused"
    assert "WRONGPASS" in failed.value.words or "invalid" in failed.value.words
    await store.close()


@contextlib.asynccontextmanager
async def slow_to_connect(port: int, seconds: float) -> AsyncIterator[int]:
    """Forward a port, but delay each connection before its first byte."""
    pumps: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            while data := await reader.read(65_536):
                writer.write(data)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(seconds)
        there, back = await asyncio.open_connection("127.0.0.1", port)
        for one in (pump(reader, back), pump(there, writer)):
            pumps.add(asyncio.create_task(one))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in pumps:
            task.cancel()
        await asyncio.wait(pumps)


async def test_the_first_poll_counts_from_the_connection(redis_server: RedisServer) -> None:
    """Connecting and sending scripts may take longer than the timeout of a command."""
    async with slow_to_connect(redis_server.port, 1.2) as port:
        store = RedisStore(f"redis://127.0.0.1:{port}", 1.0, f"slow-{time.time_ns()}:", 10.0)
        log = log_of(store, 1.0)
        await log.poll()
        assert not log.failures
        assert log.epoch
        await store.close()


def test_a_reason_that_lasts_is_logged_once_a_minute() -> None:
    """It may alternate with another reason; after a success every reason is logged again."""
    now = 0.0
    log = RedisLog("limits", lambda: now)
    with structlog.testing.capture_logs() as logs:
        for _ in range(100):
            log.failed("timeout")
            log.failed("refused", "OOM command not allowed")
        assert len(logs) == 2
        now = 61.0
        log.failed("timeout")
        assert len(logs) == 3
        log.succeeded()
        log.succeeded()
        log.failed("timeout")
    assert [line["event"] for line in logs[3:]] == ["limits_reached", "limits_not_reached"]


async def test_config_lists_the_commands_that_redis_does_not_allow(
    restricted: RestrictedServer,
) -> None:
    """Redis's own text is shown; a missing INFO alone is a note."""
    usual = await report_on_redis(restricted.url, _PREFIX)
    assert (usual.text, usual.ok) == ("ok", True)
    assert "INFO is not allowed" in usual.notes[0]
    restricted.allow(*_USUAL, "+info")
    assert not (await report_on_redis(restricted.url, _PREFIX)).notes

    restricted.allow(*_USUAL, "-xadd", "-getrange")
    poor = await report_on_redis(restricted.url, _PREFIX)
    assert not poor.ok
    assert poor.text.startswith("GETRANGE, XADD is refused: ")
    assert "docs/architecture/security.md" in poor.text
    other = await report_on_redis(restricted.url, "other:")
    assert not other.ok
    assert "permission" in other.text
    restricted.allow(*_USUAL, "-@scripting")
    assert not (await report_on_redis(restricted.url, _PREFIX)).ok
    wrong = await report_on_redis(restricted.url.replace("rather", "less"), _PREFIX)
    assert not wrong.ok
    assert "less-secret" not in wrong.text
    restricted.server.kill()
    gone = await report_on_redis(restricted.url, _PREFIX)
    assert not gone.ok
    assert _PASSWORD not in gone.text


def has_joined(client: Any) -> bool:
    """Return whether a node knows another one and the slots of each."""
    said = client.execute_command("CLUSTER", "INFO")
    return b"cluster_size:2" in said and b"cluster_state:ok" in said


async def test_config_says_that_several_nodes_need_braces(
    redis_binary: str, tmp_path: Path
) -> None:
    """One script cannot use keys on different nodes."""
    servers, ports = [], [str(free_port()) for _ in range(2)]
    for port in ports:
        directory = tmp_path / port
        directory.mkdir()
        options = ("--cluster-enabled", "yes", "--cluster-port", port)
        servers.append(RedisServer(redis_binary, directory, *options))
    try:
        for server, slots in zip(servers, ((0, 8191), (8192, 16383)), strict=True):
            server.start()
            with redis.Redis.from_url(server.url) as client:
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", *slots)
        with redis.Redis.from_url(servers[0].url) as client:
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", servers[1].port, ports[1])

        for server in servers:
            with redis.Redis.from_url(server.url) as client:
                await eventually(partial(has_joined, client), patience=30)
        apart = await report_on_redis(servers[0].url, "fleet:")
        assert not apart.ok
        assert "redis_prefix in braces" in apart.text
        reports = [await report_on_redis(server.url, "{fleet}:") for server in servers]
        assert sorted(report.ok for report in reports) == [False, True], reports
        assert any("a cluster needs redis+cluster://" in report.text for report in reports)
    finally:
        for server in servers:
            server.kill()
