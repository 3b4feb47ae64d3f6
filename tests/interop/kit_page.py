"""A page for browsers that runs the conformance kit with the TypeScript client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from aiohttp import web

_PACKAGES: Final = ("@bufbuild/protobuf", "@connectrpc/connect", "@connectrpc/connect-web")
_PAGE: Final = """<!doctype html>
<title>Conformance kit</title>
<script type="importmap">{imports}</script>
<script type="module" src="build/test/conformance_browser.js"></script>
"""


@dataclass
class KitPage:
    """A web server for the page; `report` is the one that the page sends."""

    origin: str
    kit: dict[str, Any] = field(default_factory=dict)
    report: asyncio.Future[dict[str, Any]] = field(default_factory=asyncio.Future)

    async def _kit(self, _request: web.Request) -> web.Response:
        return web.json_response(self.kit)

    async def _report(self, request: web.Request) -> web.Response:
        self.report.set_result(await request.json())
        return web.Response()


@asynccontextmanager
async def open_kit_page(package: Path, port: int) -> AsyncIterator[KitPage]:
    """Serve the page from the folder of the compiled package during the `async with`."""
    page = KitPage(f"http://127.0.0.1:{port}")
    html = _PAGE.format(imports=json.dumps({"imports": dict(_imports(package / "node_modules"))}))

    async def show(_request: web.Request) -> web.Response:
        return web.Response(text=html, content_type="text/html")

    app = web.Application()
    app.router.add_get("/", show)
    app.router.add_get("/kit.json", page._kit)
    app.router.add_post("/report", page._report)
    app.router.add_static("/build", package / "build")
    app.router.add_static("/node_modules", package / "node_modules", follow_symlinks=True)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield page
    finally:
        await runner.cleanup()


def _imports(packages: Path) -> Iterator[tuple[str, str]]:
    """Return the address of each module that the packages export."""
    for name in _PACKAGES:
        exports = json.loads((packages / name / "package.json").read_text("utf-8"))["exports"]
        for path, targets in exports.items():
            yield f"{name}{path[1:]}", f"/node_modules/{name}/{targets['import'][2:]}"
