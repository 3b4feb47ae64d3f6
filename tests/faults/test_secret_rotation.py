"""Secrets are rotated under load, on two replicas that notice the change at different times."""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import itertools
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
import pytest_asyncio
import redis
import yaml

from dynamodb_processor_server.cli import keys as keys_command
from dynamodb_processor_server.cli.rotate_keys import rotate
from tests.faults.load import EVENTS, USERS
from tests.rpc.logged import Logged
from tests.support.access import token_keys
from tests.support.lengths import PATIENCE, at_length
from tests.support.redis_server import RedisServer
from tests.support.running import (
    Key,
    Service,
    eventually,
    make_key,
    numbers,
    open_service,
    query_spec,
)
from tests.support.scraping import metric
from tests.support.secrets_manager import ENDPOINT, SecretsManagerServer

_RATE: Final = at_length(50, 200)  # calls per second
_ROTATIONS: Final = at_length(1, 3)  # of each kind
_CALLERS: Final = 8
# Seconds until a new token key encrypts: more than the slower replica needs on a busy machine.
_DELAY: Final = at_length(10.0, 5.0)
_INTERVALS: Final = (0.05, 0.5)  # seconds between two reads, of each replica
_USER: Final = "app"
_LIMIT: Final = 99  # of the reads whose tokens are kept


@dataclass
class Storage:
    """Where keys and secrets lie: in files of a folder, or in secrets with a prefix."""

    folder: Path
    server: SecretsManagerServer | None
    prefix: str

    def put(self, name: str, text: str) -> None:
        """Write a file, or put a version of a secret."""
        if self.server is None:
            (self.folder / name).write_text(text, "utf-8")
        else:
            self.server.put(f"{self.prefix}/{name}", text)

    def settings(self) -> dict[str, Any]:
        """Return the settings of a server that reads them."""
        if self.server is None:
            folder = self.folder
            return {"token_keys_file": folder / "token-keys", "redis_url_file": folder / "redis"}
        return {
            "token_keys_secret": f"{self.prefix}/token-keys",
            "redis_url_secret": f"{self.prefix}/redis",
            "keys_secret": f"{self.prefix}/keys.yaml",
        }

    async def rotate(self, name: str, *arguments: str) -> str:
        """Run `keys rotate`, and return the key that it prints."""
        flag = {"token-keys": "--token-keys", "keys.yaml": "--keys"}[name]
        if self.server is None:
            file_flag = flag if name == "keys.yaml" else f"{flag}-file"
            given = [file_flag, str(self.folder / name)]
        else:
            given = [f"{flag}-secret", f"{self.prefix}/{name}"]
        parser = argparse.ArgumentParser()
        keys_command.add_actions(parser, asyncio.run)
        out = io.StringIO()
        assert await rotate(parser.parse_args(["rotate", *given, *arguments]), out) == 0
        return out.getvalue().strip()


@pytest.fixture(params=["files", "secrets-manager"])
def storage(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    secrets_manager: SecretsManagerServer,
    monkeypatch: pytest.MonkeyPatch,
) -> Storage:
    """The storage of the keys and secrets."""
    monkeypatch.setenv(ENDPOINT, secrets_manager.url)
    stored = request.param == "secrets-manager"
    made = Storage(tmp_path, secrets_manager if stored else None, f"ddb-{uuid.uuid4().hex[:8]}")
    if stored:
        for name in ("token-keys", "redis", "keys.yaml"):
            secrets_manager.create(f"{made.prefix}/{name}")
    return made


@dataclass
class Fleet:
    """Two replicas, and callers that read every page of a user from one and then the other."""

    replicas: tuple[Service, ...]
    key: Key
    seen: Counter[str] = field(default_factory=Counter)
    tokens: list[tuple[int, str]] = field(default_factory=list)
    _calls: Iterator[int] = field(default_factory=itertools.count)
    _reads: Iterator[int] = field(default_factory=itertools.count)
    _began: float = field(default_factory=time.monotonic)

    async def load(self) -> None:
        """Call at the rate until cancelled."""
        await asyncio.gather(*(self._read_users() for _ in range(_CALLERS)))

    async def _read_users(self) -> None:
        for number in itertools.count():
            # Cached pages come with tokens that were sealed up to a minute ago. Every second read
            # is one that nobody has made before, so that its tokens are new.
            user, limit = number % len(USERS), 100 + next(self._reads) if number % 2 else None
            token, read = "", []
            while True:
                call = next(self._calls)
                await asyncio.sleep(max(0.0, self._began + call / _RATE - time.monotonic()))
                try:
                    answer = await self.page(call, user, token, limit)
                except grpc.aio.AioRpcError as error:
                    self.seen[f"{error.code().name}: {error.details()}"] += 1
                    break
                read += numbers(answer.items, "seq")
                self.seen["right" if read == EVENTS[: len(read)] else "wrong"] += 1
                token = answer.next_page_token
                if not token:
                    break

    async def page(self, replica: int, user: int, token: str, max_items: int | None = None) -> Any:
        """Return a page of a user from a replica."""
        service = self.replicas[replica % len(self.replicas)]
        spec = query_spec(
            "events", "user_id = :u", parameters={"u": USERS[user]}, max_items=max_items
        )
        service.keys["now"] = self.key
        return await service.query(spec, key="now", page_size=3, page_token=token)

    async def keep_token(self) -> None:
        """Keep the token of a first page, for the end; nobody has made this read before."""
        user = len(self.tokens)
        page = await self.page(0, user, "", _LIMIT)
        self.tokens.append((user, page.next_page_token))

    async def reloaded(self, name: str) -> int:
        """Return how often all replicas have used a new version."""
        labels = {"file": name, "outcome": "reloaded"}
        counts = [await metric(one, "file_changes_total", **labels) for one in self.replicas]
        return int(min(counts))


@pytest_asyncio.fixture
async def fleet(
    storage: Storage, tmp_path: Path, dynamodb_local: str, table: str, own_redis: RedisServer
) -> AsyncIterator[Fleet]:
    """Two servers that read the same storage at intervals of their own."""
    _set_password(own_redis, "zero")
    key = make_key("tester")
    storage.put("token-keys", token_keys("zero"))
    storage.put("redis", _url(own_redis, "zero"))
    storage.put("keys.yaml", yaml.safe_dump({"keys": [dict(key.entry)]}))
    prefix = f"{uuid.uuid4().hex}:"
    async with AsyncExitStack() as stack:
        replicas = [
            await stack.enter_async_context(
                open_service(
                    tmp_path,
                    dynamodb_local,
                    {"tables": {"events": {"table": table}}},
                    [key],
                    reload_interval=interval,
                    secret_interval=interval,
                    secret_timeout=PATIENCE,
                    metrics_listen="127.0.0.1:0",
                    redis_prefix=prefix,
                    redis_timeout=1.0,
                    rate_limit_store="redis",
                    **storage.settings(),
                )
            )
            for interval in _INTERVALS
        ]
        yield Fleet(tuple(replicas), key)


def _url(server: RedisServer, password: str) -> str:
    return server.url.replace("redis://", f"redis://{_USER}:{password}@")


def _set_password(server: RedisServer, added: str, removed: str | None = None) -> None:
    """Give the servers' user another password, and take one away."""
    with closing(redis.Redis.from_url(server.url)) as client:
        rules = ["on", "~*", "+@all", f">{added}"] + ([f"<{removed}"] if removed else [])
        send: Any = client.execute_command
        send("ACL", "SETUSER", _USER, *rules)


async def _rotate_all(fleet: Fleet, storage: Storage, server: RedisServer, number: int) -> None:
    """Rotate the token keys, an API key and the password of Redis, one after the other."""
    before = await fleet.reloaded("token_keys")
    await storage.rotate("token-keys", "--id", f"k{number}", "--delay", f"{_DELAY}")
    await eventually(lambda: _above(fleet, "token_keys", before))
    await fleet.keep_token()
    before = await fleet.reloaded("keys")
    used = fleet.key.entry["id"]
    text = await storage.rotate("keys.yaml", "--key", used, "--id", f"tester-{number}")
    await eventually(lambda: _above(fleet, "keys", before))
    fleet.key = Key(text, {**fleet.key.entry, "id": f"tester-{number}"})
    before, added = await fleet.reloaded("redis_url"), f"p{number}"
    _set_password(server, added)
    storage.put("redis", _url(server, added))
    await eventually(lambda: _above(fleet, "redis_url", before))
    _set_password(server, added, "zero" if number == 1 else f"p{number - 1}")
    # Until the new token key encrypts on both replicas, and then a little more.
    await asyncio.sleep(_DELAY + 0.5)
    await fleet.keep_token()


def _key_of(token: str) -> str:
    """Return the id of the key that encrypted a page token."""
    data = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    return data[2 : 2 + data[1]].decode()


async def _above(fleet: Fleet, name: str, before: int) -> bool:
    return await fleet.reloaded(name) > before


async def test_no_call_fails_while_secrets_are_rotated(
    fleet: Fleet,
    storage: Storage,
    own_redis: RedisServer,
    logged: Logged,
    report: Callable[[str, str, str], None],
) -> None:
    """Page tokens of one replica open on the other all the time, and old ones still at the end."""
    logged.clear()
    began = time.monotonic()
    await fleet.keep_token()
    load = asyncio.ensure_future(fleet.load())
    for number in range(1, _ROTATIONS + 1):
        await _rotate_all(fleet, storage, own_redis, number)
    load.cancel()
    await asyncio.wait((load,))
    seconds = time.monotonic() - began
    opened = [
        numbers((await fleet.page(replica, user, token, _LIMIT)).items, "seq")
        for user, token in fleet.tokens
        for replica in range(len(fleet.replicas))
    ]
    failed = fleet.seen.total() - fleet.seen["right"]
    where = "files" if storage.server is None else "Secrets Manager"
    report(
        f"rotation of secrets, in {where}",
        "0 failed calls; tokens sealed before each rotation open after all of them",
        f"{fleet.seen.total()} calls in {seconds:.1f} s, {failed} failed, {_ROTATIONS} rotations "
        f"each of token keys, API key and Redis password; {len(opened)} old tokens opened",
    )
    assert set(fleet.seen) == {"right"}
    assert opened == [EVENTS[3:6]] * len(opened)
    encrypting = {_key_of(token) for _, token in fleet.tokens}
    assert encrypting == {"zero", *(f"k{number}" for number in range(1, _ROTATIONS + 1))}
    assert logged.of("config_file_refused") == []
    refusals = [
        line
        for event in ("shared_cache_not_reached", "shared_limits_not_reached")
        for line in logged.of(event)
        if line["reason"] != "timeout"  # of a busy machine
    ]
    assert refusals == []
