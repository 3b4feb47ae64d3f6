"""Work that goes on beside a server for as long as it lives."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any


def run_in_background(work: Coroutine[Any, Any, None], stack: AsyncExitStack) -> None:
    """Run `work` as a task, which is cancelled and waited for when the stack is closed."""
    task = asyncio.create_task(work)

    async def end() -> None:
        task.cancel()
        await asyncio.wait((task,))

    stack.push_async_callback(end)
