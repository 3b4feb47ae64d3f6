"""The `health` command: a probe that imports nothing of the server but the health client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from dynamodb_processor_server.rpc.health_client import serving_status

_TIMEOUT = 2.0  # seconds
_PAUSE = 0.2  # seconds between questions


async def check_health(
    target: str,
    service: str,
    wait: float = 0.0,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> int:
    """Ask a server's health service, print its answer and return 0 if it is SERVING, else 1.

    It is asked again and again for `wait` seconds as long as it does not serve.
    """
    deadline = time.monotonic() + wait
    while (status := await serving_status(target, service, _TIMEOUT)) != "SERVING":
        if time.monotonic() + _PAUSE > deadline:
            break
        await sleep(_PAUSE)
    print(status if status == "SERVING" else f"{target}: {status}")
    return 0 if status == "SERVING" else 1
