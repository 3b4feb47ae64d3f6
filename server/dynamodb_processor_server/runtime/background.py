"""Background tasks that run as long as the server."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any

import structlog

_log = structlog.get_logger(__name__)


def run_in_background(work: Coroutine[Any, Any, None], stack: AsyncExitStack) -> None:
    """Run `work` as a task; closing the stack cancels it and waits for its end.

    If it fails before, the error is logged, as no caller awaits the task.
    """
    task = asyncio.create_task(work)
    task.add_done_callback(_log_failure)

    async def end() -> None:
        task.cancel()
        await asyncio.wait((task,))

    stack.push_async_callback(end)


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("background_work_failed", exc_info=error)
