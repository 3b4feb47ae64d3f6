"""An HTTP server with the key set of an issuer, which can also misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web


@dataclass
class KeyServer:
    """What the server answers with, and how often it was asked.

    While `hangs` is set, requests are not answered.
    """

    content: bytes = b""
    content_type: str = "application/json"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    requests: int = 0
    hangs: asyncio.Event | None = None
    url: str = ""

    async def answer(self, request: web.Request) -> web.Response:
        """Answer one request."""
        self.requests += 1
        if self.hangs is not None:
            await self.hangs.wait()
        return web.Response(
            body=self.content,
            status=self.status,
            headers={"content-type": self.content_type, **self.headers},
        )

    def answer_html(self) -> None:
        """Answer with a page for people, as a proxy does whose target is away."""
        self.content, self.content_type = b"<html><h1>Be right back</h1></html>", "text/html"


@asynccontextmanager
async def open_key_server(content: bytes = b"") -> AsyncIterator[KeyServer]:
    """Run a key server during the `async with`."""
    server = KeyServer(content)
    application = web.Application()
    application.router.add_get("/keys", server.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        server.url = f"http://{host}:{port}/keys"
        yield server
    finally:
        if server.hangs is not None:
            server.hangs.set()
        await runner.cleanup()
