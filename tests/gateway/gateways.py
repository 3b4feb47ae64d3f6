"""Gateways before services of the test's own loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

from tests.support.gateway import Answer, Gateway, running_gateway


class Addressed(Protocol):
    """A running service, fake or real."""

    @property
    def address(self) -> str:
        """Where it answers, HOST:PORT."""


@asynccontextmanager
async def gateway_before(
    folder: Path, *services: Addressed, **options: Any
) -> AsyncIterator[Gateway]:
    """Run a gateway before services, while the loop goes on; options as of `running_gateway`."""
    life = running_gateway(folder, *(service.address for service in services), **options)
    running = await asyncio.to_thread(life.__enter__)
    try:
        yield running
    finally:
        await asyncio.to_thread(life.__exit__, None, None, None)


async def post(
    gateway: Gateway, path: str, body: Any = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """Make a POST request while the loop goes on; without a body it is an empty object."""
    return await asyncio.to_thread(gateway.post, path, {} if body is None else body, headers)
