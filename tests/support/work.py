"""Work in counted steps, which are the same on every machine, however busy it is."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any


class InlineExecutor(Executor):
    """Runs its calls at once, in the caller's thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call a function and return its outcome."""
        outcome: Future[Any] = Future()
        try:
            outcome.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - a future keeps any exception
            outcome.set_exception(error)
        return outcome


@dataclass
class Work:
    """The number of called functions, Python's own included."""

    calls: int = 0


@contextmanager
def counted_work(modules: tuple[str, ...] = ("",)) -> Iterator[Work]:
    """Count the calls of functions that this thread makes within the `with`.

    `modules` are the beginnings of the names of modules: only calls in these count. What an event
    loop does at intervals is then left out, which is more on a slow machine.
    """
    work = Work()

    def count(frame: FrameType, event: str, _argument: Any) -> None:
        if event in ("call", "c_call") and frame.f_globals.get("__name__", "").startswith(modules):
            work.calls += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        yield work
    finally:
        sys.setprofile(before)
