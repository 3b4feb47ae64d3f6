"""Event loops for tests of connections."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import uvloop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run these tests on both loops: servers use uvloop, where connections fail in other ways."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
