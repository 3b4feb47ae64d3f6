"""DynamoDB Local with faults: throttling and others that it lacks are answered in its place."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import aiohttp
from aiohttp import web

_READS: Final = ("Query", "Scan", "GetItem", "BatchGetItem")
_PASSED_ON: Final = ("content-type", "x-amz-target", "authorization", "x-amz-date")
_PASSED_BACK: Final = ("content-type", "x-amz-crc32", "x-amzn-requestid")
_JSON: Final = {"content-type": "application/x-amz-json-1.0"}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer; `status` 0 stands for DynamoDB's own answer, with these headers over it."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def refusal(code: str, status: int = 400, **more: Any) -> Reply:
    """Return an error as DynamoDB words it."""
    kind = f"com.amazonaws.dynamodb.v20120810#{code}"
    body = {"__type": kind, "message": "internal: arn:aws:dynamodb", **more}
    return Reply(status, json.dumps(body).encode(), _JSON)


def reply_with(content: dict[str, Any]) -> Reply:
    """Return an answer as DynamoDB sends it."""
    body = json.dumps(content).encode()
    return Reply(200, body, {**_JSON, "x-amz-crc32": str(zlib.crc32(body))})


#: Returns the answer to the nth read, with this body; None lets it through.
Script = Callable[[int, bytes], Reply | None]
#: Sends DynamoDB itself a request, which it must not refuse.
Ask = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
#: Answers an operation's requests in place of DynamoDB, to which it may send requests.
Act = Callable[[dict[str, Any], Ask], Awaitable[Reply]]


def open_gate() -> asyncio.Event:
    """Return a gate that lets all requests through until it is cleared."""
    gate = asyncio.Event()
    gate.set()
    return gate


@dataclass
class Stub:
    """Passes requests on to DynamoDB, unless `script` has an answer to a read.

    Requests that it lets through are answered by `acts`, by operation, where there is one. `reads`
    is how many came, `most_at_once` how many of them at the same time. All wait for `gate`, which
    is open unless a test closes it, then for one of the slots of `width`, in which each stays
    `seconds` longer than DynamoDB takes.
    """

    upstream: str
    session: aiohttp.ClientSession
    script: Script = lambda number, body: None
    acts: Mapping[str, Act] = field(default_factory=dict)
    gate: asyncio.Event = field(default_factory=open_gate)
    width: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1_000))
    seconds: float = 0.0
    reads: int = 0
    most_at_once: int = 0
    port: int = 0
    _active: int = 0

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one request."""
        body = await request.read()
        if _operation(request) not in _READS:
            return await self._perform(request, body, {})
        self.reads += 1
        number = self.reads
        self._active += 1
        self.most_at_once = max(self.most_at_once, self._active)
        try:
            await self.gate.wait()
            async with self.width:
                if self.seconds:
                    await asyncio.sleep(self.seconds)
                return await self._reply(request, number, body)
        finally:
            self._active -= 1

    async def _reply(self, request: web.Request, number: int, body: bytes) -> web.Response:
        reply = self.script(number, body)
        if reply is None or not reply.status:
            return await self._perform(request, body, reply.headers if reply else {})
        return _response(reply)

    async def _perform(
        self, request: web.Request, body: bytes, changed: dict[str, str]
    ) -> web.Response:
        act = self.acts.get(_operation(request))
        if act is None:
            return await self._pass_on(request, body, changed)
        reply = await act(json.loads(body), partial(self._ask, request))
        return _response(replace(reply, headers=reply.headers | changed))

    async def _ask(self, request: web.Request, asked: dict[str, Any]) -> dict[str, Any]:
        response = await self._pass_on(request, json.dumps(asked).encode(), {})
        assert response.status == 200, response.body
        content: dict[str, Any] = json.loads(response.body)  # type: ignore[arg-type]  # bytes
        return content

    async def _pass_on(
        self, request: web.Request, body: bytes, changed: dict[str, str]
    ) -> web.Response:
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        async with self.session.post(self.upstream, data=body, headers=headers) as answer:
            back = {name: answer.headers[name] for name in _PASSED_BACK if name in answer.headers}
            content = await answer.read()
            return web.Response(status=answer.status, body=content, headers={**back, **changed})


def _operation(request: web.Request) -> str:
    return request.headers.get("x-amz-target", "").rpartition(".")[2]


def _response(reply: Reply) -> web.Response:
    return web.Response(status=reply.status, body=reply.body, headers=reply.headers)


@asynccontextmanager
async def open_stub(upstream: str, acts: Mapping[str, Act] | None = None) -> AsyncIterator[Stub]:
    """Run a stub in front of DynamoDB for the time of the `async with`."""
    # DynamoDB Local may close an idle connection at the moment in which it is used again.
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:
        stub = Stub(upstream, session, acts=acts or {})
        runner = web.ServerRunner(web.Server(stub.handle), shutdown_timeout=0.1)  # type: ignore[arg-type]
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            stub.port = runner.addresses[0][1]
            yield stub
        finally:
            await runner.cleanup()
