"""A place where a call waits until a test lets it go on."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Gate:
    """Tells that a call has come: it sets `reached`, and goes on when the test sets `opened`."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self) -> None:
        """Set `reached`, and wait for `opened`."""
        self.reached.set()
        await self.opened.wait()
