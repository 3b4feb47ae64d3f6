"""The cores of processes: a measured server shares its core with no other process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.processes import ServerProcess


@contextmanager
def a_core_of_its_own(server: ServerProcess) -> Iterator[None]:
    """Give a server one core, and the others to these tests and the other processes they started.

    Elsewhere than on Linux, and where there is one core only, nothing changes.
    """
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    if len(cores) < 2:
        yield
        return
    own = {max(cores)}
    _confine(os.getpid(), cores - own)
    _confine(server.process.pid, own)
    try:
        yield
    finally:
        _confine(os.getpid(), cores)


def _confine(process: int, cores: set[int]) -> None:
    """Let a process run on these cores alone: every thread, and every process that it started."""
    for thread in Path(f"/proc/{process}/task").iterdir():
        with suppress(OSError):  # The process may have ended.
            os.sched_setaffinity(int(thread.name), cores)
            for child in (thread / "children").read_text().split():
                _confine(int(child), cores)
