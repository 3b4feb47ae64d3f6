"""Scrapers of the metrics hang in every way, and callers do not notice."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

import pytest

from tests.faults.conftest import Ground
from tests.faults.load import DEADLINE, Load
from tests.support.lengths import PATIENCE, at_length, timely

_SCRAPERS: Final = 60
_CALLS: Final = 120
_SAID: Final = (b"", b"GET /met", b"GET /metrics HTTP/1.1\r\n\r\n")  # The last answer is not read.


@pytest.mark.parametrize("seed", range(at_length(1, 3)))
async def test_hung_scrapers_are_not_noticed(
    seed: int, ground: Ground, report: Callable[[str, str, str], None]
) -> None:
    """Every call is answered correctly and in time, and so is a healthy scraper."""
    load = Load(ground.service, seed)
    assert (await load.run(20, 5)).right
    assert ground.service.app.metrics_port is not None
    address = ("127.0.0.1", ground.service.app.metrics_port)
    with ExitStack() as stack:
        for number in range(_SCRAPERS):
            scraper = stack.enter_context(socket.create_connection(address, timeout=PATIENCE))
            scraper.sendall(_SAID[(number + seed) % len(_SAID)])
        outcome = await load.run(_CALLS, 6)
        began = time.monotonic()
        async with asyncio.timeout(PATIENCE):
            counted = await ground.metric("calls_total")
        seconds = time.monotonic() - began
    report(
        f"metrics sink hung, seed {seed}",
        "0 wrong, 0 failed; scraped beside it in 2 s",
        f"{outcome.right} right of {_CALLS}, latest {outcome.latest:.2f} s, beside "
        f"{_SCRAPERS} hung scrapers; scraped in {seconds:.2f} s",
    )
    assert outcome.right == _CALLS
    assert timely(outcome.latest, DEADLINE)
    assert counted >= _CALLS
    assert timely(seconds, 2.0)
