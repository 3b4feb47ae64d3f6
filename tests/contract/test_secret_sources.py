"""Each source of a secret reads the same values, refuses the same ones, and follows changes."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import pytest
import structlog
from pydantic import SecretStr

from dynamodb_processor_server.errors import ConfigurationError
from dynamodb_processor_server.settings import Settings
from dynamodb_processor_server.wiring.secrets import Secret, Secrets, open_secrets
from tests.support.access import token_keys
from tests.support.backends import REGION
from tests.support.lengths import PATIENCE
from tests.support.redis_server import RedisServer
from tests.support.secret_sources import FileSource, Source, StoredSource
from tests.support.secrets_manager import ENDPOINT, SecretsManagerServer

_KEYS: Final = token_keys("first", "second")
_SECRET: Final = _KEYS.partition(":")[2][:20]


Open = Callable[..., Any]


@pytest.fixture(params=["file", "name", "arn"])
def new_source(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    secrets_manager: SecretsManagerServer,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[str, str], Source]:
    """A function that makes a source of a setting with a content."""
    monkeypatch.setenv(ENDPOINT, secrets_manager.url)

    def make(setting: str, content: str) -> Source:
        if request.param == "file":
            path = tmp_path / setting
            path.write_text(content)
            return FileSource(setting, path)
        name = f"ddb/{uuid.uuid4().hex}"
        arn = secrets_manager.create(name, content)
        return StoredSource(setting, arn if request.param == "arn" else name, secrets_manager)

    return make


@pytest.fixture
async def opened() -> AsyncIterator[Open]:
    """A function that opens the secrets of settings; they are closed with the test."""
    async with AsyncExitStack() as stack:

        async def open_them(**settings: Any) -> Secrets:
            files: dict[str, Any] = {"catalog": Path("c"), "keys": Path("k")}
            given = Settings(region=REGION, secret_timeout=PATIENCE, **files, **settings)
            return await open_secrets(given, stack)

        yield open_them


@pytest.fixture
def logs() -> Iterator[list[MutableMapping[str, Any]]]:
    """The log entries of a test, which must have no secret."""
    with structlog.testing.capture_logs() as captured:
        yield captured
    assert _SECRET not in str(captured)
    assert "hush" not in str(captured)


class Following:
    """A secret, and each value that its users got."""

    def __init__(self, secret: Secret[Any]) -> None:
        self.secret = secret
        self.got: list[Any] = []
        secret.follow(self.got.append)

    async def poll(self) -> None:
        """Read the source once."""
        assert self.secret.source is not None
        await self.secret.source.poll(self.secret.adopt)

    @property
    def refused(self) -> int:
        """The number of refused versions."""
        assert self.secret.source is not None
        return self.secret.source.changes["refused"]


def ids(keys: Any) -> list[str]:
    """Return the ids of token keys."""
    return [key.key_id for key in keys]


@pytest.mark.parametrize("around", ["", "\n", "\r\n", "  \n"])
async def test_every_source_reads_the_same(
    new_source: Callable[[str, str], Source], opened: Open, around: str
) -> None:
    """The value is that of the plain setting, with or without the line end of an editor."""
    plain = await opened(token_keys=SecretStr(_KEYS + around))
    read = await opened(**new_source("token_keys", _KEYS + around).settings())
    assert read.token_keys.current == plain.token_keys.current
    assert ids(read.token_keys.current) == ["first", "second"]
    assert plain.sources() == {}
    assert list(read.sources()) == ["token_keys"]


async def test_a_new_value_comes_into_force(
    new_source: Callable[[str, str], Source], opened: Open, logs: list[Any]
) -> None:
    """Its users get it once; the log names the source, and has no digest of a guessable text."""
    source = new_source("token_keys", _KEYS)
    following = Following((await opened(**source.settings())).token_keys)
    await following.poll()
    assert following.got == []
    source.write(token_keys("third", "first").encode())
    await following.poll()
    await following.poll()
    assert [ids(keys) for keys in following.got] == [["third", "first"]]
    assert ids(following.secret.current) == ["third", "first"]
    (line,) = logs
    assert (line["event"], line["file"]) == ("config_file_reloaded", source.name)
    assert following.secret.source is not None
    assert following.secret.source.changes == {"reloaded": 1, "refused": 0}


_BAD: Final = {
    b"": "is empty",
    b" \n": "is empty",
    b"first": "key 1 is not `id:key`",
    _KEYS[:-9].encode(): "key 2 is not 32 bytes in base64url",  # half-written
    f"{_KEYS},".encode(): "key 3 is not `id:key`",
    f"{_KEYS},{_KEYS}".encode(): "two keys have the same id",
    f"{_KEYS}@soon".encode(): "key 2 has no time",
    b'{"token_keys": "%b"}' % _KEYS.encode(): "is not 32 bytes in base64url",
    b"\xff\xfe": "",  # no text: the words differ
}


@pytest.mark.parametrize("content", _BAD, ids=range(len(_BAD)))
async def test_a_bad_value_leaves_the_old_one_in_force(
    new_source: Callable[[str, str], Source], opened: Open, logs: list[Any], content: bytes
) -> None:
    """One line names the setting, the source and the reason; the next good value is used."""
    source = new_source("token_keys", _KEYS)
    secrets = await opened(**source.settings())
    following, (setting,) = Following(secrets.token_keys), source.settings()
    source.write(content)
    for _ in range(3):
        await following.poll()
    assert following.got == []
    assert ids(following.secret.current) == ["first", "second"]
    assert following.refused == 1
    assert not secrets.sources()["token_keys"].is_up_to_date
    (line,) = logs
    assert (line["event"], line["log_level"]) == ("config_file_refused", "error")
    (text,) = line["errors"]
    assert text.startswith(f"{source.name}: {setting}: ")
    assert _BAD[content] in text
    source.write(token_keys("third").encode())
    await following.poll()
    assert ids(following.secret.current) == ["third"]
    assert secrets.sources()["token_keys"].is_up_to_date


@pytest.mark.parametrize("content", _BAD, ids=range(len(_BAD)))
async def test_a_bad_value_at_the_start_is_an_error(
    new_source: Callable[[str, str], Source], opened: Open, content: bytes
) -> None:
    """There is no old value to keep; the error names the setting and does not show the value."""
    source = new_source("token_keys", _KEYS)
    source.write(content)
    with pytest.raises(ConfigurationError) as caught:
        await opened(**source.settings())
    assert "token_keys" in str(caught.value)
    assert _SECRET not in str(caught.value)


async def test_a_source_that_is_gone_leaves_the_value_in_force(
    new_source: Callable[[str, str], Source], opened: Open, logs: list[Any]
) -> None:
    """It is logged and counted once; when the source is back, nothing has changed."""
    source = new_source("token_keys", _KEYS)
    secrets = await opened(**source.settings())
    following = Following(secrets.token_keys)
    source.remove()
    await following.poll()
    await following.poll()
    assert following.refused == 1
    assert len(logs) == 1
    source.restore()
    await following.poll()
    assert secrets.sources()["token_keys"].is_up_to_date
    assert following.got == []
    source.remove()
    with pytest.raises(ConfigurationError, match="token_keys_"):
        await opened(**source.settings())


@pytest.mark.parametrize(
    "content", [b"localhost", b"http://:hush@localhost", b"redis://:hush@localhost:x"]
)
async def test_a_text_that_is_no_redis_url_is_refused(
    new_source: Callable[[str, str], Source],
    opened: Open,
    logs: list[Any],
    redis_server: RedisServer,
    content: bytes,
) -> None:
    """The log says the forms of a URL, and does not show the text."""
    source = new_source("redis_url", redis_server.url)
    secrets = await opened(token_keys=SecretStr(_KEYS), **source.settings())
    following = Following(secrets.redis_url)
    source.write(content)
    await following.poll()
    assert following.secret.current == redis_server.url
    (line,) = logs
    assert "must be redis://, rediss:// or unix://" in line["errors"][0]


async def test_a_redis_url_that_does_not_work_is_tried_again(
    new_source: Callable[[str, str], Source],
    opened: Open,
    logs: list[Any],
    redis_server: RedisServer,
    own_redis: RedisServer,
) -> None:
    """A wrong password and a Redis that is down leave the old URL; it changes when one works."""
    source = new_source("redis_url", redis_server.url)
    secrets = await opened(token_keys=SecretStr(_KEYS), **source.settings())
    following = Following(secrets.redis_url)
    source.write(redis_server.url.replace("redis://", "redis://who:hush@").encode())
    await following.poll()
    own_redis.kill()
    source.write(own_redis.url.encode())
    await following.poll()
    await following.poll()
    assert following.got == []
    own_redis.start()
    await following.poll()
    assert following.got == [own_redis.url]
    refused = [line["errors"][0] for line in logs if line["event"] == "config_file_refused"]
    assert ["Redis does not accept the new URL" in text for text in refused] == [True, True]
    assert "WRONGPASS" in refused[0] or "invalid username-password" in refused[0]


async def test_the_keys_file_comes_from_a_secret(
    secrets_manager: SecretsManagerServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its errors have the lines of the text; a new version is noticed like that of a file."""
    monkeypatch.setenv(ENDPOINT, secrets_manager.url)
    name = f"ddb/{uuid.uuid4().hex}"
    secrets_manager.create(name, "keys: []\n")
    async with AsyncExitStack() as stack:
        settings = Settings(
            catalog=Path("c"), keys_secret=name, region=REGION, secret_timeout=PATIENCE
        )
        opener = (await open_secrets(settings, stack)).opener
        file = await opener.open_keys_file(lambda document: document.content)
        secrets_manager.put(name, "keys: [1]\n")
        await file.poll(lambda _: None)
        assert file.current == b"keys: [1]\n"


@pytest.mark.parametrize(
    ("setting", "interval"), [("token_keys_file", 7.0), ("token_keys_secret", 90.0)]
)
async def test_a_source_is_read_at_its_interval(
    opened: Open,
    tmp_path: Path,
    secrets_manager: SecretsManagerServer,
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
    interval: float,
) -> None:
    """Files are read every `reload_interval`, and secrets, whose reads cost, less often."""
    monkeypatch.setenv(ENDPOINT, secrets_manager.url)
    path, name = tmp_path / "keys", f"ddb/{uuid.uuid4().hex}"
    path.write_text(_KEYS)
    secrets_manager.create(name, _KEYS)
    given = {"token_keys_file": path, "token_keys_secret": name}[setting]
    secret = (
        await opened(**{setting: given}, reload_interval=7.0, secret_interval=90.0)
    ).token_keys
    naps: list[float] = []

    async def sleep(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            raise asyncio.CancelledError

    watch = secret.watch(sleep)
    with pytest.raises(asyncio.CancelledError):
        await watch
    assert naps == [interval] * 3
