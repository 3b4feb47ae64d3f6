"""Reserves file descriptors for files and sockets other than client connections.

A process without a free descriptor cannot read its keys file, open a connection to DynamoDB or
answer a scrape. So client connections get only the descriptors that nothing else needs, and one is
kept for reading files.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None  # type: ignore[assignment]

_OWN: Final = 64  # the process itself: loop, logs, files, listeners
_SCRAPES: Final = 100  # of the metrics port at once
_NONE_LEFT: Final = (errno.EMFILE, errno.ENFILE)
_TRIES: Final = 20

T = TypeVar("T")


def raise_limit() -> None:
    """Let this process open as many files as its hard limit allows."""
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):  # some systems report a higher limit than they grant
            return


def connections_that_fit(wanted: int, backend: int) -> int:
    """Return the number of client connections that may be open at once, at least 1.

    Args:
        wanted: The number if descriptors suffice.
        backend: The number of connections to DynamoDB and other services.
    """
    if resource is None:
        return wanted
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return wanted
    rest = limit - _OWN - _SCRAPES - backend
    # If there are few, clients get at least a quarter of them.
    return max(1, min(wanted, max(rest, limit // 4)))


class SpareDescriptor:
    """Keeps a descriptor for short uses while the process has no other one left.

    The first use opens it, when the standard files have their numbers.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spare: int | None = None

    def use(self, work: Callable[[], T]) -> T:
        """Return the result of `work`, which opens one file and closes it.

        If no descriptor is left, the kept one is closed first. Other work may take it, so that is
        tried several times. Raises the errors of `work`.
        """
        try:
            result = work()  # without the lock: a hanging file system delays its own file only
        except OSError as error:
            if error.errno not in _NONE_LEFT:
                raise
        else:
            with self._lock:
                self._keep()
            return result
        with self._lock:
            try:
                return self._use_spare(work)
            finally:
                self._keep()

    def _use_spare(self, work: Callable[[], T]) -> T:
        for _ in range(_TRIES):
            self._give_up()
            with suppress(OSError):
                return work()
            self._keep()
        self._give_up()
        return work()

    def _keep(self) -> None:
        if self._spare is None:
            with suppress(OSError):
                self._spare = os.open(os.devnull, os.O_RDONLY)

    def _give_up(self) -> None:
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None


SPARE: Final = SpareDescriptor()
