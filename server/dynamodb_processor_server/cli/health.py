"""The `health` command: a probe that imports only the health client of the server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from dynamodb_processor_server.rpc.health_client import serving_status

_TIMEOUT = 2.0  # seconds
_RETRY_SECONDS = 0.2  # between two checks


async def check_health(
    target: str,
    service: str,
    wait: float = 0.0,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> int:
    """Check a server's health, print the status and return 0 if it is SERVING, else 1.

    While the status is another one, the check is repeated for up to `wait` seconds.
    """
    deadline = time.monotonic() + wait
    while (status := await serving_status(target, service, _TIMEOUT)) != "SERVING":
        if time.monotonic() + _RETRY_SECONDS > deadline:
            break
        await sleep(_RETRY_SECONDS)
    print(status if status == "SERVING" else f"{target}: {status}")
    return 0 if status == "SERVING" else 1
