"""Requests for pages, with options that do not limit and a caller that may do everything."""

from __future__ import annotations

import asyncio
from math import inf
from typing import Any, Final

from dynamodb_processor_server.auth.grants import Grant
from dynamodb_processor_server.auth.principal import Principal
from dynamodb_processor_server.query.planning.plan import Plan
from dynamodb_processor_server.reader import (
    START,
    Budget,
    Caller,
    Cursor,
    PageRead,
    PartialRead,
    ReadAhead,
    ReadOptions,
)

PRINCIPAL: Final = Principal("k", "reports", frozenset({"reader"}), (Grant("*"),), "default")
#: A caller without a deadline.
CALLER: Final = Caller(PRINCIPAL, inf)


def far_options(
    page_size: int = 10,
    *,
    max_scanned_items: int | None = None,
    max_read_units: float | None = None,
    max_duration: float | None = None,
    **fields: Any,
) -> ReadOptions:
    """Return options without deadlines."""
    budget = Budget(max_scanned_items, max_read_units, max_duration)
    options = ReadOptions(page_size, inf, inf, budget)
    return options._replace(**fields)


def make_options(page_size: int = 10, seconds: float = 60.0, **fields: Any) -> ReadOptions:
    """Return options that leave a minute of the running loop's time."""
    until = asyncio.get_running_loop().time() + seconds
    return far_options(page_size, **{"soft_deadline": until, "hard_deadline": until, **fields})


def make_read(
    plan: Plan,
    cursor: Cursor = START,
    *sizes: int,
    caller: Caller = CALLER,
    read_ahead: ReadAhead | None = None,
    progress: PartialRead | None = None,
    **options: Any,
) -> PageRead:
    """Return the request for a page; `options`, and its size, are those of `make_options`."""
    made = make_options(*sizes, **options)
    return PageRead(plan, cursor, made, caller, None, read_ahead, progress)
