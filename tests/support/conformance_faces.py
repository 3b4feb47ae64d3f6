"""The Python client's faces, as the conformance kit calls them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from dynamodb_processor_client import Item, Page, Query, QueryClient, Total
from tests.support.conformance import KitServer
from tests.support.threaded_client import FACTORIES, ClientFactory
from tests.support.tokens import Token


@dataclass(frozen=True, slots=True)
class Collected:
    """The results of an iteration: pages or items, and the state of the iterator after them."""

    results: list[Any]
    resume_token: str
    total: Total | None
    freshness_token: str

    @property
    def items(self) -> list[Item]:
        """The items, of all pages."""
        if not any(isinstance(one, Page) for one in self.results):
            return list(self.results)
        return [item for page in self.results for item in page.items]


class Face(Protocol):
    """One face of the client."""

    async def call(self, caller: str, method: str, *arguments: Any, **options: Any) -> Any:
        """Return the result of a method that answers once."""
        ...

    async def collect(self, caller: str, method: str, query: Query, **options: Any) -> Collected:
        """Return every result of `pages` or `stream`."""
        ...

    def in_session(self) -> Face:
        """Return the same face, which makes the calls of a caller in a new session."""
        ...


class ClientFace:
    """A client with asynchronous methods: one for each caller."""

    def __init__(
        self,
        make_client: ClientFactory,
        server: KitServer,
        stack: AsyncExitStack,
        clients: dict[str, QueryClient] | None = None,
    ) -> None:
        self._make_client = make_client
        self._server = server
        self._stack = stack
        self._clients = {} if clients is None else clients

    async def call(self, caller: str, method: str, *arguments: Any, **options: Any) -> Any:
        """Return the result of a method that answers once."""
        client = await self._client(caller)
        return await getattr(client, method)(*arguments, **options)

    async def collect(self, caller: str, method: str, query: Query, **options: Any) -> Collected:
        """Return every result of `pages` or `stream`."""
        client = await self._client(caller)
        results = getattr(client, method)(query, **options)
        found = [one async for one in results]
        return Collected(found, results.resume_token, results.total, results.freshness_token)

    def in_session(self) -> Face:
        """Return the same face, which makes the calls of a caller in a new session."""
        return _SessionFace(self._make_client, self._server, self._stack, self._clients)

    async def _client(self, caller: str) -> QueryClient:
        if caller not in self._clients:
            client = self._make_client(self._server.address, **credential(self._server, caller))
            self._clients[caller] = await self._stack.enter_async_context(client)
        return self._clients[caller]


class _SessionFace(ClientFace):
    """A client whose calls of one caller belong to a session; other calls do not."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._sessions: dict[str, Any] = {}

    async def _client(self, caller: str) -> Any:
        if caller not in self._sessions:
            self._sessions[caller] = (await super()._client(caller)).session()
        return self._sessions[caller]


def credential(server: KitServer, caller: str) -> dict[str, Any]:
    """Return the arguments of a client that identify a caller."""
    key = server.credentials[caller]
    if key is None:
        return {}
    return {"token" if isinstance(key, Token) else "api_key": key.text}


@asynccontextmanager
async def open_face(name: str, server: KitServer) -> AsyncIterator[Face]:
    """Open the asynchronous client or the synchronous one; `FACTORIES` has the names."""
    async with AsyncExitStack() as stack:
        yield ClientFace(FACTORIES[name], server, stack)
