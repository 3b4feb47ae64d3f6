"""The synchronous client behind the methods of the asynchronous one, for tests of both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import fields
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeAlias, cast

from dynamodb_processor_client import QueryClient, ResumePolicy, sync

#: Makes a client of either kind, with the arguments of `QueryClient`.
ClientFactory: TypeAlias = Callable[..., QueryClient]

# More than a test has calls at the same time.
_THREADS = 64
_ENDED = object()


class ThreadedStream(AsyncIterator[Any]):
    """A stream of the synchronous client whose waits take place in threads."""

    def __init__(self, stream: sync.PageStream | sync.ItemStream, pool: Executor) -> None:
        """Wrap a stream, whose waits take place in `pool`."""
        self._stream = stream
        self._pool = pool

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the stream, such as its token; a method waits in a thread."""
        found = getattr(self._stream, name)
        return partial(_in, self._pool, found) if callable(found) else found

    async def __anext__(self) -> Any:
        """Return the next page or item."""
        found = await _in(self._pool, next, cast("Iterator[Any]", self._stream), _ENDED)
        if found is _ENDED:
            raise StopAsyncIteration
        return found

    async def aclose(self) -> None:
        """Close the stream."""
        await _in(self._pool, self._stream.close)


class ThreadedSession:
    """A session of the synchronous client whose calls take place in threads."""

    def __init__(self, session: sync.Session, pool: Executor) -> None:
        """Wrap a session, whose calls take place in `pool`."""
        self._session = session
        self._pool = pool

    @property
    def token(self) -> str:
        """The session as text."""
        return self._session.token

    def wrote(self, *tables: str, at: datetime | None = None) -> None:
        """Record a write."""
        self._session.wrote(*tables, at=at)

    def pages(self, *arguments: Any, **options: Any) -> ThreadedStream:
        """Return the pages of a result."""
        return ThreadedStream(self._session.pages(*arguments, **options), self._pool)

    def stream(self, *arguments: Any, **options: Any) -> ThreadedStream:
        """Return the items of a result."""
        return ThreadedStream(self._session.stream(*arguments, **options), self._pool)

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        """Return a method that waits in a thread."""
        return partial(_in, self._pool, getattr(self._session, name))


class ThreadedClient:
    """A synchronous client whose calls take place in threads.

    Thus every test of the asynchronous client is a test of the synchronous one, whose own calls
    would block the event loop that the fake service answers on.
    """

    def __init__(self, *arguments: Any, resume: ResumePolicy | None = None, **options: Any) -> None:
        """Make a client; `resume` is the policy of an asynchronous one."""
        policy = None if resume is None else _synchronous(resume)
        self._pool = ThreadPoolExecutor(_THREADS)
        self._client = sync.QueryClient(*arguments, resume=policy, **options)

    async def __aenter__(self) -> Self:
        """Open the client."""
        await _in(self._pool, self._client.open)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the client."""
        await _in(self._pool, self._client.close)
        self._pool.shutdown()

    def pages(self, *arguments: Any, **options: Any) -> ThreadedStream:
        """Return the pages of a result."""
        return ThreadedStream(self._client.pages(*arguments, **options), self._pool)

    def stream(self, *arguments: Any, **options: Any) -> ThreadedStream:
        """Return the items of a result."""
        return ThreadedStream(self._client.stream(*arguments, **options), self._pool)

    def session(self, token: str = "") -> ThreadedSession:
        """Return a session."""
        return ThreadedSession(self._client.session(token), self._pool)

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        """Return a method that waits in a thread."""
        return partial(_in, self._pool, getattr(self._client, name))


async def _in(pool: Executor, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    call = partial(function, *arguments, **options)
    return await asyncio.get_running_loop().run_in_executor(pool, call)


def _synchronous(policy: ResumePolicy) -> sync.ResumePolicy:
    values = {field.name: getattr(policy, field.name) for field in fields(policy)}
    sleep = values.pop("sleep")

    async def pause(seconds: float) -> None:
        await sleep(seconds)

    return sync.ResumePolicy(**values, sleep=lambda seconds: asyncio.run(pause(seconds)))


#: Both kinds of client, by the name of the test's parameter.
FACTORIES: dict[str, ClientFactory] = {
    "async": QueryClient,
    "sync": cast(ClientFactory, ThreadedClient),
}
