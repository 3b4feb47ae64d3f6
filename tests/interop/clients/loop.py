"""Reads a call per line, makes it, and writes its outcome: shared by the clients in Python."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

Outcome = dict[str, Any]


async def serve(call: Callable[[dict[str, Any]], Awaitable[Outcome]]) -> None:
    """Make calls until there are no more."""
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(await call(json.loads(line))), flush=True)


def failure(messages: list[Any], code: int, message: str | None, details: list[Any]) -> Outcome:
    """Return the failure of a call. Details are pairs of a type's full name and the bytes."""
    pairs = [[name, base64.b64encode(data).decode()] for name, data in details]
    return {"messages": messages, "code": code, "message": message, "details": pairs}
