"""The refresh of an issuer's keys: rare, shared by concurrent calls, and never fatal."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from structlog.testing import capture_logs

from dynamodb_processor_server.auth.bearer.issuer_keys import IssuerKeys
from dynamodb_processor_server.auth.bearer.key_set import KeySetError
from dynamodb_processor_server.auth.bearer.key_source import FileSource, UrlSource
from tests.support.key_server import KeyServer, open_key_server
from tests.support.lengths import PATIENCE
from tests.support.tokens import SigningKey, key_set

_FIRST, _SECOND = SigningKey("first"), SigningKey("second")


class Clock:
    """A clock that sleepers set forward."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        """Return the time."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Let the time pass."""
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


class Source:
    """A key set whose reads wait until the test lets them go on."""

    def __init__(self, *contents: bytes | Exception) -> None:
        self.contents = deque(contents)
        self.reads = 0
        self.open = asyncio.Event()
        self.open.set()

    async def read(self) -> bytes:
        """Return the next content; the last one stays."""
        self.reads += 1
        await self.open.wait()
        content = self.contents.popleft() if len(self.contents) > 1 else self.contents[0]
        if isinstance(content, Exception):
            raise content
        return content


def keys_of(
    source: Source, clock: Clock, on_change: Callable[[], None] | None = None
) -> IssuerKeys:
    """Return the keys of a source."""
    return IssuerKeys("idp", source, on_change or (lambda: None), clock, clock.sleep)


async def begun(*waits: Coroutine[Any, Any, None]) -> list[asyncio.Task[None]]:
    """Start some waits and let them come as far as they can."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    for _ in range(10):
        await asyncio.sleep(0)
    return tasks


async def test_a_refresh_brings_new_keys_into_force() -> None:
    """A change is reported; the same content again is none."""
    changes: list[int] = []
    clock = Clock()
    source = Source(key_set(_FIRST), key_set(_FIRST), key_set(_SECOND))
    keys = keys_of(source, clock, lambda: changes.append(source.reads))
    for _ in range(3):
        await keys.refresh()
    assert changes == [1, 3]
    assert keys.current is not None
    assert keys.current.find("second") is not None
    assert keys.reads == {"ok": 3}
    assert keys.age == 0


async def test_reads_are_a_second_apart() -> None:
    """Tokens with invented key ids cause at most one read a second."""
    clock = Clock()
    source = Source(key_set(_FIRST))
    keys = keys_of(source, clock)
    await keys.refresh()
    clock.now += 0.25
    await keys.refresh()
    assert clock.slept == [0.75]


async def test_concurrent_refreshes_share_one_read() -> None:
    """A caller that leaves disturbs no other."""
    source = Source(key_set(_FIRST))
    source.open.clear()
    keys = keys_of(source, Clock())
    first, *others = await begun(*(keys.refresh() for _ in range(5)))
    assert source.reads == 1
    first.cancel()
    source.open.set()
    await asyncio.gather(*others)
    assert keys.current is not None


async def test_a_read_that_began_before_does_not_decide() -> None:
    """Its answer may be older than the token, so one more read follows."""
    source = Source(key_set(_FIRST), key_set(_FIRST, _SECOND))
    source.open.clear()
    keys = keys_of(source, Clock())
    (early,) = await begun(keys.refresh())
    late = await begun(keys.refresh(), keys.refresh())
    source.open.set()
    await asyncio.gather(early, *late)
    assert source.reads == 2
    assert keys.current is not None
    assert keys.current.find("second") is not None


async def test_a_bounded_number_of_calls_wait() -> None:
    """Further ones are refused at once, since nobody has verified their tokens."""
    source = Source(key_set(_FIRST))
    source.open.clear()
    keys = keys_of(source, Clock())
    waiting = await begun(*(keys.refresh() for _ in range(1_000)))
    await keys.refresh()
    assert not any(task.done() for task in waiting)
    source.open.set()
    await asyncio.gather(*waiting)


async def test_a_wait_has_a_bound() -> None:
    """A file on a disk that hangs is read forever, and a call need not have a deadline."""
    source = Source(key_set(_FIRST))
    source.open.clear()
    keys = IssuerKeys("idp", source, longest_wait=0.05)
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(keys.refresh(), keys.refresh())
    assert keys.current is None
    source.open.set()
    await keys.refresh()
    assert keys.current is not None


async def test_earlier_keys_stay_in_force_after_a_failure() -> None:
    """The reason is logged once, until it changes or a read succeeds."""
    failure = KeySetError("was not answered within 5 s")
    source = Source(
        key_set(_FIRST), failure, failure, b"<html>", ValueError("?"), key_set(_FIRST), failure
    )
    keys = keys_of(source, Clock())
    with capture_logs() as lines:
        for _ in range(7):
            await keys.refresh()
            assert keys.current is not None
    assert keys.reads == {"ok": 2, "failed": 5}
    assert [line["reason"] for line in lines if line["event"] == "bearer_keys_refused"] == [
        "the key set was not answered within 5 s",
        "the key set is not JSON",
        "the key set cannot be read: ValueError",
        "the key set was not answered within 5 s",
    ]
    assert {line["kept"] for line in lines if "kept" in line} == {"the earlier keys"}


async def test_a_watch_reads_at_intervals_and_ends_with_its_task() -> None:
    """Its end also ends a read under way."""
    clock = Clock()
    source = Source(key_set(_FIRST))
    keys = keys_of(source, clock)
    (watch,) = await begun(keys.watch(300.0))
    assert source.reads > 1
    assert set(clock.slept) <= {300.0, 1.0}
    source.open.clear()
    await begun(asyncio.sleep(0))
    watch.cancel()
    await asyncio.wait((watch,))
    assert watch.cancelled()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"status": 503}, "was answered with HTTP status 503"),
        ({"status": 302, "headers": {"location": "/keys"}}, "was answered with HTTP status 302"),
    ],
)
async def test_an_answer_without_a_key_set_is_a_failure(
    change: dict[str, Any], reason: str
) -> None:
    """Redirects are not followed: only the address in the file is trusted."""
    async with open_key_server(b"{}") as server:
        for name, value in change.items():
            setattr(server, name, value)
        with pytest.raises(KeySetError, match=reason):
            await UrlSource(server.url, PATIENCE).read()
        assert server.requests == 1


async def test_a_server_that_hangs_is_given_up() -> None:
    """So is one that is not there."""
    async with open_key_server() as server:
        server.hangs = asyncio.Event()
        with pytest.raises(KeySetError, match=r"was not answered within 0\.05 s"):
            await UrlSource(server.url, 0.05).read()
        url = server.url
    with pytest.raises(KeySetError, match="cannot be fetched"):
        await UrlSource(url, PATIENCE).read()


async def test_an_endless_answer_is_read_in_part() -> None:
    """The rest is refused by its size."""
    async with open_key_server(b" " * 2_000_000) as server:
        content = await UrlSource(server.url, PATIENCE).read()
    assert 256 * 1024 < len(content) < 512 * 1024


async def test_a_file_may_hold_the_key_set(tmp_path: Any) -> None:
    """A missing file is a failure that names it."""
    path = tmp_path / "keys.json"
    with pytest.raises(KeySetError, match=r"keys\.json: cannot be read"):
        await FileSource(path).read()
    path.write_bytes(key_set(_FIRST))
    assert await FileSource(path).read() == key_set(_FIRST)


async def test_a_key_server_serves_its_content() -> None:
    """As an identity provider does."""
    async with open_key_server(key_set(_FIRST)) as server:
        assert isinstance(server, KeyServer)
        assert await UrlSource(server.url, PATIENCE).read() == key_set(_FIRST)
