"""Background work ends with its server, and its failures are logged."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import structlog

from dynamodb_processor_server.runtime.background import run_in_background


async def _work(error: Exception | None) -> None:
    await asyncio.sleep(0)
    if error is not None:
        raise error
    await asyncio.Event().wait()


async def test_work_that_fails_is_logged() -> None:
    """The log has the error, and other work goes on."""
    with structlog.testing.capture_logs() as logs:
        async with AsyncExitStack() as stack:
            run_in_background(_work(None), stack)
            run_in_background(_work(ValueError("a bug")), stack)
            await asyncio.sleep(0.01)
    assert [(line["event"], repr(line["exc_info"])) for line in logs] == [
        ("background_work_failed", "ValueError('a bug')")
    ]


async def test_work_is_cancelled_with_its_server() -> None:
    """A cancellation is not logged."""
    with structlog.testing.capture_logs() as logs:
        async with AsyncExitStack() as stack:
            run_in_background(_work(None), stack)
            await asyncio.sleep(0)
    assert logs == []
