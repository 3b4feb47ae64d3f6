"""The `health` command: a probe that imports nothing of the server but the health client."""

from __future__ import annotations

from dynamodb_processor_server.rpc.probe import ask_health

_TIMEOUT = 2.0  # seconds


async def check_health(target: str, service: str) -> int:
    """Ask a server's health service, print its answer and return 0 if it is SERVING, else 1."""
    status = await ask_health(target, service, _TIMEOUT)
    print(status if status == "SERVING" else f"{target}: {status}")
    return 0 if status == "SERVING" else 1
